// Package machine is what goes on inside a real node: its first process mounts
// what only this node sees, starts containerd and the kubelet and stays. It runs
// in mount, process, network, host name and IPC namespaces of its own, and with
// it ends everything in them.
package machine

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// Where things are inside of the machine.
const (
	kubeletDir    = "/var/lib/kubelet"
	containerdDir = "/var/lib/containerd"
	socket        = "/run/containerd/containerd.sock"
)

// Plan is a node, as its owner wants it.
type Plan struct {
	// Name of the node and of the machine.
	Name string
	// Address of the node, Pods those of its pods.
	Address netip.Addr
	Pods    netip.Prefix
	// Labels and ProviderID of the Node object.
	Labels     map[string]string
	ProviderID string
	// MaxPods is the node's capacity.
	MaxPods int
	// LeaseSeconds is for how long the kubelet takes its lease, which it renews
	// four times as often.
	LeaseSeconds int

	// State is the node's folder. It holds the logs and what would be on the
	// disk of a machine.
	State string
	// Packages is where Debian's packages are unpacked.
	Packages string
	// Kubelet is the executable, Kubeconfig its access.
	Kubelet, Kubeconfig string
	// Registry is the address of the only one there is.
	Registry string
	// Pause is the image that holds the namespaces of a pod.
	Pause string
	// Cgroup is the node's, seen from the root of each hierarchy.
	Cgroup string
}

// Write puts the plan into the node's folder, where [Read] finds it.
func (p *Plan) Write() error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(p.path("plan.json"), text, 0o644)
}

// Read reads the plan in a folder.
func Read(state string) (*Plan, error) {
	var p Plan
	text, err := os.ReadFile(filepath.Join(state, "plan.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	return &p, nil
}

// Logs are the files in the node's folder that say what happened, the most
// telling last.
func Logs() []string { return []string{"containerd.log", "kubelet.log", "machine.log"} }

func (p *Plan) path(name string) string   { return filepath.Join(p.State, name) }
func (p *Plan) binary(name string) string { return filepath.Join(p.Packages, "usr", "bin", name) }
