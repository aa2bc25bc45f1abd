//! Annotation keys on Services. MetalLB's are read as well as ours, so that its users keep their manifests.

/// The constants as they stand, and the list of all that the reference is written from.
macro_rules! annotations {
    ($($(#[doc = $doc:literal])+ pub const $name:ident: &str = $key:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $key;)+

        /// Every key, or beginning of keys, and what it means: the text of its doc comment.
        pub const ANNOTATIONS: &[(&str, &str)] = &[$(($key, concat!($($doc),+))),+];
    };
}

annotations! {
    /// Asks for an address from the pool of this name.
    pub const ADDRESS_POOL: &str = "penstock.dev/address-pool";
    /// MetalLB's key of the same meaning.
    pub const ADDRESS_POOL_METALLB: &str = "metallb.io/address-pool";
    /// MetalLB's key from before v0.14, which it still reads.
    pub const ADDRESS_POOL_METALLB_OLD: &str = "metallb.universe.tf/address-pool";

    /// Asks for these addresses: a comma list, at most one of each family.
    pub const LOAD_BALANCER_IPS: &str = "penstock.dev/loadBalancerIPs";
    /// MetalLB's key of the same meaning.
    pub const LOAD_BALANCER_IPS_METALLB: &str = "metallb.io/loadBalancerIPs";
    /// MetalLB's key from before v0.14, which it still reads.
    pub const LOAD_BALANCER_IPS_METALLB_OLD: &str = "metallb.universe.tf/loadBalancerIPs";

    /// Written by the operator: the pool that the addresses came from.
    pub const ALLOCATED_FROM: &str = "penstock.dev/ip-allocated-from-pool";

    /// Written by MetalLB's controller, in the same sense; read when a Service becomes ours.
    pub const ALLOCATED_FROM_METALLB: &str = "metallb.io/ip-allocated-from-pool";
    /// The same key from before MetalLB v0.14.
    pub const ALLOCATED_FROM_METALLB_OLD: &str = "metallb.universe.tf/ip-allocated-from-pool";

    /// Written by the operator: the LoadBalancerClass that serves the Service. A Service without `spec.loadBalancerClass`
    /// stays with it when another class becomes the default.
    pub const SERVED_BY: &str = "penstock.dev/served-by-class";

    /// Agrees to the pending plan of this hash, and to no other.
    pub const APPROVED_PLAN: &str = "penstock.dev/approved-plan";

    /// Services that carry the same text may have the same address, as long as their ports do not clash.
    pub const ALLOW_SHARED_IP: &str = "penstock.dev/allow-shared-ip";
    /// MetalLB's key of the same meaning.
    pub const ALLOW_SHARED_IP_METALLB: &str = "metallb.io/allow-shared-ip";
    /// MetalLB's key from before v0.14, which it still reads.
    pub const ALLOW_SHARED_IP_METALLB_OLD: &str = "metallb.universe.tf/allow-shared-ip";

    /// The beginning of the keys that AWS's own controller reads for network load balancers; the provider `aws` reads them too.
    pub const AWS_PREFIX: &str = "service.beta.kubernetes.io/aws-load-balancer-";

    /// Gives an existing network load balancer, named by its ARN, to the Service: provider `aws` only.
    pub const AWS_ADOPT: &str = "penstock.dev/aws-adopt-load-balancer-arn";

    /// Names a Secret of type `kubernetes.io/tls` in the Service's namespace: the balancer ends TLS with its certificate.
    pub const TLS_SECRET: &str = "penstock.dev/tls-secret";

    /// The beginning of the keys that Hetzner's own controller reads for load balancers; the provider `hetzner` reads them too.
    pub const HETZNER_PREFIX: &str = "load-balancer.hetzner.cloud/";

    /// Gives an existing load balancer of Hetzner Cloud, named by its ID, to the Service: provider `hetzner` only.
    pub const HETZNER_ADOPT: &str = "penstock.dev/hetzner-adopt-load-balancer-id";

    /// The beginning of the keys that DigitalOcean's own controller reads; the provider `digitalocean` reads them too.
    pub const DIGITALOCEAN_PREFIX: &str = "service.beta.kubernetes.io/do-loadbalancer-";

    /// Gives an existing load balancer, named by its id, to the Service: provider `digitalocean` only.
    pub const DIGITALOCEAN_ADOPT: &str = "penstock.dev/digitalocean-adopt-load-balancer-id";
}
