package cluster

import (
	"fmt"
	"net/netip"
	"time"
)

// Names of the parts, as cmd/kube knows them.
const (
	etcd              = "etcd"
	apiserver         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
)

// ServiceRange and ServiceRange6 hold the cluster addresses of Services. Nothing
// answers there: the lab has no kube-proxy.
const (
	ServiceRange  = "10.96.0.0/16"
	ServiceRange6 = "fd00:96::/112"
)

func loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

func local(scheme string, port int) string {
	return fmt.Sprintf("%s://%s:%d", scheme, loopback(), port)
}

func (c *Cluster) etcdArgs() []string {
	client, peer := local("http", c.ports.etcd), local("http", c.ports.peer)
	return []string{
		"--name=lab",
		"--data-dir=" + c.path("etcd"),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=lab=" + peer,
		// The data need not survive a power cut, and tests share a disk.
		"--unsafe-no-fsync",
	}
}

func (c *Cluster) apiserverArgs() []string {
	return append([]string{
		"--etcd-servers=" + local("http", c.ports.etcd),
		"--bind-address=" + c.address.Addr().String(),
		"--advertise-address=" + c.address.Addr().String(),
		fmt.Sprintf("--secure-port=%d", c.address.Port()),
		"--tls-cert-file=" + c.path("serving.crt"),
		"--tls-private-key-file=" + c.path("serving.key"),
		"--client-ca-file=" + c.path("ca.crt"),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("sa.key"),
		"--service-account-signing-key-file=" + c.path("sa.key"),
		"--service-cluster-ip-range=" + ServiceRange + "," + ServiceRange6,
		"--allow-privileged=true",
		"--endpoint-reconciler-type=none",
		"--kubelet-preferred-address-types=InternalIP",
	}, c.options.APIServer...)
}

func (c *Cluster) controllerManagerArgs() []string {
	args := append(c.clientArgs(controllerManager, c.ports.controllers),
		"--service-account-private-key-file="+c.path("sa.key"),
		"--root-ca-file="+c.path("ca.crt"),
		"--use-service-account-credentials=false",
		"--node-monitor-grace-period="+c.options.NodeGrace.String(),
		"--node-monitor-period="+min(5*time.Second, c.options.NodeGrace/8).String(),
	)
	return append(args, c.options.ControllerManager...)
}

func (c *Cluster) schedulerArgs() []string {
	return append(c.clientArgs(scheduler, c.ports.scheduler), c.options.Scheduler...)
}

// clientArgs are those that the two clients of the API server share. The default
// rates of 20 to 50 requests per second would make a thousand pods take a
// minute.
func (c *Cluster) clientArgs(part string, port int) []string {
	return []string{
		"--kubeconfig=" + c.path(part+".config"),
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + c.path("serving.crt"),
		"--tls-private-key-file=" + c.path("serving.key"),
		"--authorization-always-allow-paths=/healthz,/livez,/readyz,/metrics",
	}
}
