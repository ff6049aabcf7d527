package certs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// lookEvery is how often the Secret is looked at, for what other replicas or
	// people did to it, and the configuration is put in order.
	lookEvery = time.Minute
	// retryEvery is how soon what failed is tried again.
	retryEvery = 5 * time.Second
	// lookLimit bounds one look.
	lookLimit = 10 * time.Second
)

// Keeper keeps the certificates in the Secret valid and the API server told of
// their authority. Every replica has one; who is the first to renew wins, and the
// others take what they find. It is safe for concurrent use.
type Keeper struct {
	// Client reads and writes without a cache: only one Secret and one
	// configuration are of interest, and nothing else may be read.
	Client kubernetes.Interface
	// Namespace and Name are those of the Secret. Name is also that of the
	// MutatingWebhookConfiguration, whose first webhook is ours.
	Namespace, Name string
	// Hosts are the names or addresses by which API servers call the webhook.
	Hosts []string

	serving atomic.Pointer[tls.Certificate]
}

// Start keeps the certificates until ctx ends.
func (k *Keeper) Start(ctx context.Context) error {
	for {
		pause := lookEvery
		if err := k.look(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "The certificates of the webhook are not in order", "secret", k.Namespace+"/"+k.Name)
			pause = retryEvery
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// NeedLeaderElection is false: every replica serves the webhook.
func (k *Keeper) NeedLeaderElection() bool { return false }

// errNone says that there is nothing to serve with yet.
var errNone = errors.New("the webhook has no certificate yet")

// GetCertificate is tls.Config's.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if serving := k.serving.Load(); serving != nil {
		return serving, nil
	}
	return nil, errNone
}

// Ready is a healthz.Checker: a replica without a certificate cannot serve.
func (k *Keeper) Ready(*http.Request) error {
	_, err := k.GetCertificate(nil)
	return err
}

// look brings the Secret, what is served and what the API server trusts in line.
// What the API server trusts comes before what is served.
func (k *Keeper) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	b, err := k.keep(ctx)
	if err != nil {
		return err
	}
	err = k.trust(ctx, b.data[authorityCerts])
	k.serving.Store(&b.serving)
	return err
}

// keep reads the Secret and renews it if that is due.
func (k *Keeper) keep(ctx context.Context) (*bundle, error) {
	secrets := k.Client.CoreV1().Secrets(k.Namespace)
	secret, err := secrets.Get(ctx, k.Name, metav1.GetOptions{})
	absent := apierrors.IsNotFound(err)
	if err != nil && !absent {
		return nil, fmt.Errorf("read the Secret: %w", err)
	}
	var before *bundle
	if !absent {
		before = read(secret.Data)
	}
	b, err := renewed(before, k.Hosts, time.Now())
	if err != nil || b == before {
		return b, err
	}
	if absent {
		secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name}, Type: corev1.SecretTypeTLS, Data: b.data}
		_, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
	} else {
		secret = secret.DeepCopy()
		secret.Data = b.data
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{}) // fails if another replica was quicker
	}
	if err != nil {
		return nil, fmt.Errorf("write the Secret: %w", err)
	}
	log.FromContext(ctx).Info("Renewed the certificate of the webhook", "until", b.serving.Leaf.NotAfter, "hosts", k.Hosts)
	return b, nil
}

// trust tells the API server which authorities sign for the webhook.
func (k *Keeper) trust(ctx context.Context, authorities []byte) error {
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": authorities}})
	if err != nil {
		return err
	}
	_, err = k.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Patch(ctx, k.Name, types.JSONPatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("put the authority into MutatingWebhookConfiguration %s (is config/webhook applied?): %w", k.Name, err)
	}
	return nil
}
