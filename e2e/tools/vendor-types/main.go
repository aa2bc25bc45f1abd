// Reads request bodies, a JSON object on each line of stdin, and decodes each into the type that the vendor's own Go client
// sends in that call. A field that the type does not have, or of another kind, is a fault. Prints a line for each fault.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/digitalocean/godo"
	"github.com/hetznercloud/hcloud-go/v2/hcloud/schema"
)

type call struct {
	Call string          `json:"call"`
	Body json.RawMessage `json:"body"`
}

// What godo does not export: the droplets of a balancer.
type droplets struct {
	IDs []int `json:"droplet_ids,omitempty"`
}

var types = map[string]func() any{
	"hetzner POST load_balancers":           func() any { return new(schema.LoadBalancerCreateRequest) },
	"hetzner PUT load_balancer":             func() any { return new(schema.LoadBalancerUpdateRequest) },
	"hetzner POST add_service":              func() any { return new(schema.LoadBalancerActionAddServiceRequest) },
	"hetzner POST update_service":           func() any { return new(schema.LoadBalancerActionUpdateServiceRequest) },
	"hetzner POST delete_service":           func() any { return new(schema.LoadBalancerDeleteServiceRequest) },
	"hetzner POST add_target":               func() any { return new(schema.LoadBalancerActionAddTargetRequest) },
	"hetzner POST remove_target":            func() any { return new(schema.LoadBalancerActionRemoveTargetRequest) },
	"hetzner POST change_algorithm":         func() any { return new(schema.LoadBalancerActionChangeAlgorithmRequest) },
	"hetzner POST change_type":              func() any { return new(schema.LoadBalancerActionChangeTypeRequest) },
	"hetzner POST attach_to_network":        func() any { return new(schema.LoadBalancerActionAttachToNetworkRequest) },
	"hetzner POST detach_from_network":      func() any { return new(schema.LoadBalancerActionDetachFromNetworkRequest) },
	"hetzner POST enable_public_interface":  func() any { return new(schema.LoadBalancerActionEnablePublicInterfaceRequest) },
	"hetzner POST disable_public_interface": func() any { return new(schema.LoadBalancerActionDisablePublicInterfaceRequest) },
	"hetzner POST certificates":             func() any { return new(schema.CertificateCreateRequest) },
	"digitalocean POST load_balancers":      func() any { return new(godo.LoadBalancerRequest) },
	"digitalocean PUT load_balancers":       func() any { return new(godo.LoadBalancerRequest) },
	"digitalocean POST droplets":            func() any { return new(droplets) },
	"digitalocean DELETE droplets":          func() any { return new(droplets) },
	"digitalocean POST certificates":        func() any { return new(godo.CertificateRequest) },
}

func fault(line []byte) error {
	var sent call
	if err := json.Unmarshal(line, &sent); err != nil {
		return err
	}
	make, known := types[sent.Call]
	if !known {
		return fmt.Errorf("%s: no type of the vendor's client is known for it", sent.Call)
	}
	decoder := json.NewDecoder(bytes.NewReader(sent.Body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(make()); err != nil {
		return fmt.Errorf("%s: %w", sent.Call, err)
	}
	return nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16*1024*1024)
	for lines.Scan() {
		if err := fault(lines.Bytes()); err != nil {
			fmt.Println(err)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
