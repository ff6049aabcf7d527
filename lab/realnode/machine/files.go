package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeFiles lays out the configuration of containerd, CNI and the kubelet.
func (p *Plan) writeFiles() error {
	kubelet, kubeletErr := json.MarshalIndent(p.kubeletConfig(), "", "  ")
	cni, cniErr := json.MarshalIndent(p.cniConfig(), "", "  ")
	registries := p.path("registries/_default") // of which nothing else is told
	return errors.Join(kubeletErr, cniErr,
		os.MkdirAll(p.path("cni"), 0o755),
		os.MkdirAll(registries, 0o755),
		os.WriteFile(filepath.Join(registries, "hosts.toml"), p.registryHosts(), 0o644),
		os.WriteFile(p.path("containerd.toml"), []byte(p.containerdConfig()), 0o644),
		os.WriteFile(p.path("cni/10-lab.conflist"), cni, 0o644),
		os.WriteFile(p.path("kubelet.json"), kubelet, 0o644),
	)
}

func (p *Plan) containerdConfig() string {
	return fmt.Sprintf(`version = 2
root = %q
state = "/run/containerd"
[grpc]
  address = %q
[plugins."io.containerd.internal.v1.opt"]
  path = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_tcp_service = true
  # Some machines do not let root lower the score of a process.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = %q
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
`, containerdDir, socket, filepath.Join(containerdDir, "opt"), p.Pause,
		filepath.Join(p.Packages, "usr/sbin/runc"), filepath.Join(p.Packages, "usr/lib/cni"), p.path("cni"), p.path("registries"))
}

// registryHosts leads to the only registry there is. It stands there twice because
// containerd 1.6 wants a host, and without a server would ask the registry of the
// image's name in the end.
func (p *Plan) registryHosts() []byte {
	return fmt.Appendf(nil, "server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", p.Registry)
}

// object is a JSON object, for formats whose Go types are in modules that the
// lab does without.
type object map[string]any

// cniConfig is a bridge on which pods have addresses of the node's range. They
// keep these when they leave the node: nothing is translated.
func (p *Plan) cniConfig() object {
	return object{"cniVersion": "1.0.0", "name": "lab", "plugins": []object{{
		"type":   "bridge",
		"bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "hairpinMode": true, "ipMasq": false,
		"ipam": object{"type": "host-local", "dataDir": "/run/cni-lab", "ranges": [][]object{{{"subnet": p.Pods.String()}}}},
	}}}
}

func (p *Plan) kubeletConfig() object {
	return object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"containerRuntimeEndpoint": "unix://" + socket,
		"providerID":               p.ProviderID,
		// Both hierarchies of control groups will do; there need not be a systemd.
		"cgroupDriver": "cgroupfs", "cgroupRoot": p.Cgroup, "failCgroupV1": false, "failSwapOn": false,
		// Only the lab is in this network.
		"authentication": object{"anonymous": object{"enabled": true}, "webhook": object{"enabled": false}},
		"authorization":  object{"mode": "AlwaysAllow"},
		"address":        p.Address.String(), "healthzPort": 0,
		"podLogsDir": "/var/log/pods", "volumePluginDir": filepath.Join(kubeletDir, "volumeplugins"),
		// There are no Services to be reached and no names to be resolved.
		"makeIPTablesUtilChains": false, "resolvConf": "",
		"maxPods": p.MaxPods, "nodeLeaseDurationSeconds": p.LeaseSeconds,
		// Tests make many pods at once, and the registry is the lab's own.
		"registryPullQPS": 0, "serializeImagePulls": false, "kubeAPIQPS": 200, "kubeAPIBurst": 400, "eventRecordQPS": 0,
		// The disk and the memory are not the node's alone.
		"imageGCHighThresholdPercent": 100,
		"evictionHard":                object{"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
	}
}

func (p *Plan) kubeletArgs() []string {
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		labels = append(labels, key+"="+p.Labels[key])
	}
	return []string{
		"--config=" + p.path("kubelet.json"),
		"--kubeconfig=" + p.Kubeconfig,
		"--root-dir=" + kubeletDir,
		"--cert-dir=" + filepath.Join(kubeletDir, "pki"),
		"--hostname-override=" + p.Name,
		"--node-ip=" + p.Address.String(),
		"--node-labels=" + strings.Join(labels, ","),
		"--v=2",
	}
}
