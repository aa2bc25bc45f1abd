{{/* The labels of every object; `component` is empty for those that belong to none. */}}
{{- define "penstock.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "penstock.selector" . }}
{{- end }}

{{/* What a Deployment or DaemonSet finds its Pods by: never changes. */}}
{{- define "penstock.selector" -}}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "penstock.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* host:port, with brackets around an IPv6 address. */}}
{{- define "penstock.listen" -}}
{{ if contains ":" .host }}[{{ .host }}]{{ else }}{{ .host }}{{ end }}:{{ .port }}
{{- end }}

{{/* The flags of every program. */}}
{{- define "penstock.args" -}}
- {{ printf "--http-address=%s" (include "penstock.listen" .) }}
- {{ printf "--log=%s" .root.Values.log.level | quote }}
- --log-format={{ .root.Values.log.format }}
{{- with .root.Values.otlpEndpoint }}
- {{ printf "--otlp-endpoint=%s" . | quote }}
{{- end }}
{{- end }}

{{/* Who and where the Pod is. */}}
{{- define "penstock.identity" -}}
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
{{- end }}

{{/* As the identity, for Pods on the node's network: the node, and the way to the API server past the ClusterIP. */}}
{{- define "penstock.node-identity" -}}
{{ include "penstock.identity" . }}
- name: NODE_NAME
  valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
{{- with .Values.apiServer }}
{{- if .host }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ .host | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ .port | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Probes. `probe` is the address that the kubelet asks; without it, the Pod's. Readiness is asked often: it costs
one local request, and is what an installation waits for. */}}
{{- define "penstock.probes" -}}
livenessProbe:
  httpGet: { path: /healthz, port: {{ .port }}{{ with .probe }}, host: {{ . | quote }}{{ end }} }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: {{ .port }}{{ with .probe }}, host: {{ . | quote }}{{ end }} }
  periodSeconds: 2
  timeoutSeconds: 2
{{- end }}

{{/* The address that the kubelet probes on the node's network: none where the program listens on all. */}}
{{- define "penstock.probe-host" -}}
{{ if not (has . (list "0.0.0.0" "::")) }}{{ . }}{{ end }}
{{- end }}

{{/* All addresses of the family of the DNS' Service. */}}
{{- define "penstock.dns-any" -}}
{{ if contains ":" .Values.dns.clusterIP }}::{{ else }}0.0.0.0{{ end }}
{{- end }}

{{/* The DNS' configuration file: the cluster's own domain, and what dns.config says. */}}
{{- define "penstock.dns-config" -}}
{{- $domains := .Values.dns.config.clusterDomains | default (list .Values.clusterDomain) }}
{{- if not (has .Values.clusterDomain $domains) }}
{{- fail (printf "dns.config.clusterDomains lacks clusterDomain: add %q, which the kubelets have" .Values.clusterDomain) }}
{{- end }}
{{- toYaml (merge (dict "clusterDomains" $domains) .Values.dns.config) }}
{{- end }}

{{/* The rest of a Pod's specification that values decide. */}}
{{- define "penstock.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A ServiceAccount whose token only Pods that ask for it get. `home` is its namespace; without it, the release's. */}}
{{- define "penstock.service-account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: penstock-{{ .component }}
  namespace: {{ .home | default .root.Release.Namespace }}
  labels:
    {{- include "penstock.labels" . | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}

{{/* Binds a component's ServiceAccount to its ClusterRole, or to its Role of the same name. */}}
{{- define "penstock.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: penstock-{{ .name | default .component }}
  {{- if eq .kind "Role" }}
  namespace: {{ .namespace | default .root.Release.Namespace }}
  {{- end }}
  labels:
    {{- include "penstock.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: penstock-{{ .name | default .component }}
subjects:
  - kind: ServiceAccount
    name: penstock-{{ .component }}
    namespace: {{ .home | default .root.Release.Namespace }}
{{- end }}
