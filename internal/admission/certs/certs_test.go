package certs

import (
	"bytes"
	"crypto/x509"
	"maps"
	"testing"
	"time"
)

var (
	hosts = []string{"tgc-webhook.targetgroupcontroller.svc", "127.0.0.9"}
	start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
)

func mustRenew(t *testing.T, b *bundle, hosts []string, now time.Time) *bundle {
	t.Helper()
	b, err := renewed(b, hosts, now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// trusts fails unless who knows these authorities accepts the certificate.
func trusts(t *testing.T, authorities []byte, b *bundle, now time.Time) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authorities)
	for _, host := range hosts {
		if _, err := b.serving.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: now}); err != nil {
			t.Errorf("at %v, for %s: %v", now, host, err)
		}
	}
}

func TestFirstBundle(t *testing.T) {
	b := mustRenew(t, nil, hosts, start)
	trusts(t, b.data[authorityCerts], b, start.Add(-skew/2))
	trusts(t, b.data[authorityCerts], b, start)
	again := read(b.data)
	if again == nil || !bytes.Equal(again.serving.Certificate[0], b.serving.Certificate[0]) {
		t.Fatal("what was written cannot be read")
	}
	if mustRenew(t, again, hosts, start.Add(servingLife-servingRenew-time.Hour)) != again {
		t.Error("a bundle was renewed before its time")
	}
}

func TestUnusableBundlesAreReplaced(t *testing.T) {
	good := mustRenew(t, nil, hosts, start)
	other := mustRenew(t, nil, hosts, start)
	for _, key := range []string{authorityCerts, authorityKey, servingCert, servingKey} {
		for name, value := range map[string][]byte{"missing": nil, "no PEM": []byte("?"), "of another": other.data[key]} {
			data := maps.Clone(good.data)
			data[key] = value
			b := mustRenew(t, read(data), hosts, start)
			if maps.EqualFunc(b.data, data, bytes.Equal) {
				t.Errorf("%s %s: the bundle was kept", key, name)
			}
			trusts(t, b.data[authorityCerts], b, start)
		}
	}
}

func TestOtherHostsGetAnotherCertificate(t *testing.T) {
	b := mustRenew(t, nil, hosts[:1], start)
	more := mustRenew(t, b, hosts, start)
	if more == b || !bytes.Equal(more.data[authorityCerts], b.data[authorityCerts]) {
		t.Error("want another certificate of the same authority")
	}
	trusts(t, more.data[authorityCerts], more, start)
}

// Over decades of renewals, at every moment, what the API server was told a week
// ago is enough to trust what is served now: replicas and API servers need not
// learn of a renewal at the same moment.
func TestRenewalNeverSurprisesWhoTrusted(t *testing.T) {
	b := mustRenew(t, nil, hosts, start)
	told := b.data[authorityCerts]
	authorities, certificates := map[string]bool{}, map[string]bool{}
	for now := start; now.Before(start.Add(9 * authorityLife / 4)); now = now.Add(7 * 24 * time.Hour) {
		b = mustRenew(t, read(b.data), hosts, now)
		trusts(t, told, b, now)
		told = b.data[authorityCerts]
		authorities[string(b.authorities[0].Raw)] = true
		certificates[string(b.serving.Certificate[0])] = true
		if len(b.authorities) > 2 {
			t.Fatalf("%d authorities are trusted", len(b.authorities))
		}
		if t.Failed() {
			return
		}
	}
	if len(authorities) != 3 || len(certificates) < 100 {
		t.Errorf("%d authorities and %d certificates in 22 years", len(authorities), len(certificates))
	}
}
