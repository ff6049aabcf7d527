package cluster

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// superusers is the group that RBAC lets do everything.
const superusers = "system:masters"

// tokenSeconds is how long tokens of ServiceAccounts live: longer than any lab.
const tokenSeconds = 24 * 60 * 60

// Config is the administrator's access. The caller owns the copy. It has no
// client-side rate limit.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.admin) }

// Client is the administrator's client.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Kubeconfig is the path of the administrator's kubeconfig file. It lives until
// Stop.
func (c *Cluster) Kubeconfig() string { return c.path("kubeconfig") }

// ConfigFor is the access of a user, who exists by being named here. RBAC
// decides what the user may do: nothing until something is bound to the name or
// to one of the groups.
func (c *Cluster) ConfigFor(user string, groups ...string) (*rest.Config, error) {
	client, err := c.pki.client(user, groups)
	if err != nil {
		return nil, fmt.Errorf("cluster: access for %s: %w", user, err)
	}
	config := c.anonymous()
	config.CertData, config.KeyData = client.cert, client.key
	return config, nil
}

// ServiceAccountConfig is the access of an existing ServiceAccount, by a token
// as a pod would have it.
func (c *Cluster) ServiceAccountConfig(ctx context.Context, namespace, name string) (*rest.Config, error) {
	seconds := int64(tokenSeconds)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	request, err := c.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("cluster: token for ServiceAccount %s/%s: %w", namespace, name, err)
	}
	config := c.anonymous()
	config.BearerToken = request.Status.Token
	return config, nil
}

// server is the URL of the API server.
func (c *Cluster) server() string { return "https://" + c.address.String() }

func (c *Cluster) anonymous() *rest.Config {
	return &rest.Config{
		Host:            c.server(),
		TLSClientConfig: rest.TLSClientConfig{CAData: c.pki.certPEM},
		QPS:             -1,
	}
}

// WriteKubeconfig writes an access as a kubeconfig file that needs no other
// file. Namespace is what commands without one of their own use.
func WriteKubeconfig(path string, config *rest.Config, namespace string) error {
	const name = "lab"
	file := clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server:                   config.Host,
			CertificateAuthorityData: config.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			ClientCertificateData: config.CertData,
			ClientKeyData:         config.KeyData,
			Token:                 config.BearerToken,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name, Namespace: namespace}},
		CurrentContext: name,
	}
	if err := clientcmd.WriteToFile(file, path); err != nil {
		return fmt.Errorf("cluster: write kubeconfig: %w", err)
	}
	return nil
}
