// Package certs keeps the certificates of the webhook: an authority of its own and
// a serving certificate, in a Secret that all replicas share.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// How long certificates are valid, and how long before their end they are replaced.
const (
	authorityLife  = 10 * 365 * 24 * time.Hour
	authorityRenew = 365 * 24 * time.Hour
	servingLife    = 90 * 24 * time.Hour
	servingRenew   = 30 * 24 * time.Hour
	// skew is by how much clocks may differ.
	skew = time.Hour
)

// The keys of the Secret.
const (
	authorityCerts = "ca.crt" // the newest first, then one that may still be in use
	authorityKey   = "ca.key" // of the newest
	servingCert    = "tls.crt"
	servingKey     = "tls.key"
)

// bundle is what the Secret holds.
type bundle struct {
	authorities []*x509.Certificate
	signer      *ecdsa.PrivateKey
	serving     tls.Certificate
	data        map[string][]byte
}

// read reads a Secret's data; nil if it holds no usable bundle.
func read(data map[string][]byte) *bundle {
	b := &bundle{data: data}
	for rest := data[authorityCerts]; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		authority, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		b.authorities = append(b.authorities, authority)
	}
	block, _ := pem.Decode(data[authorityKey])
	if block == nil || len(b.authorities) == 0 {
		return nil
	}
	var err error
	if b.signer, err = x509.ParseECPrivateKey(block.Bytes); err != nil || !b.signer.PublicKey.Equal(b.authorities[0].PublicKey) {
		return nil
	}
	if b.serving, err = tls.X509KeyPair(data[servingCert], data[servingKey]); err != nil {
		return nil
	}
	return b
}

// renewed is the bundle to be used from now on: b itself as long as nothing is
// about to expire and the serving certificate is good for the hosts.
//
// A new authority does not sign at once. The serving certificate is first renewed
// by the old one, so that by the time the new one signs, every API server has known
// it for long.
func renewed(b *bundle, hosts []string, now time.Time) (*bundle, error) {
	if b == nil || now.After(b.authorities[0].NotAfter) {
		authority, signer, err := newAuthority(now)
		if err != nil {
			return nil, err
		}
		return issue([]*x509.Certificate{authority}, signer, hosts, now)
	}
	if !now.Before(b.authorities[0].NotAfter.Add(-authorityRenew)) {
		return b.succeeded(hosts, now)
	}
	if b.serves(hosts, now) {
		return b, nil
	}
	return issue(valid(b.authorities, now), b.signer, hosts, now)
}

// serves tells whether the serving certificate will do for some time to come.
func (b *bundle) serves(hosts []string, now time.Time) bool {
	leaf := b.serving.Leaf
	roots := x509.NewCertPool()
	for _, authority := range b.authorities {
		roots.AddCert(authority)
	}
	for _, host := range hosts {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: now.Add(servingRenew)}); err != nil {
			return false
		}
	}
	return true
}

// succeeded gives the bundle a new authority, and a serving certificate of the old one.
func (b *bundle) succeeded(hosts []string, now time.Time) (*bundle, error) {
	old, err := issue(b.authorities[:1], b.signer, hosts, now)
	if err != nil {
		return nil, err
	}
	authority, signer, err := newAuthority(now)
	if err != nil {
		return nil, err
	}
	return encode([]*x509.Certificate{authority, b.authorities[0]}, signer, old.data[servingCert], old.data[servingKey])
}

func valid(authorities []*x509.Certificate, now time.Time) []*x509.Certificate {
	var kept []*x509.Certificate
	for _, authority := range authorities {
		if now.Before(authority.NotAfter) {
			kept = append(kept, authority)
		}
	}
	return kept
}

func newAuthority(now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "targetgroupcontroller webhook authority"},
		NotAfter: now.Add(authorityLife), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, key, err := sign(template, nil, nil, now)
	if err != nil {
		return nil, nil, err
	}
	authority, err := x509.ParseCertificate(der)
	return authority, key, err
}

// issue makes a bundle with a new serving certificate, signed by the first authority.
func issue(authorities []*x509.Certificate, signer *ecdsa.PrivateKey, hosts []string, now time.Time) (*bundle, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "targetgroupcontroller webhook"},
		NotAfter:    now.Add(servingLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, key, err := sign(template, authorities[0], signer, now)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return encode(authorities, signer, encodeCert(der), keyPEM)
}

// sign makes a key and its certificate, signed by itself without a parent.
func sign(template, parent *x509.Certificate, signer *ecdsa.PrivateKey, now time.Time) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, signer = template, key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = now.Add(-skew)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	return der, key, err
}

func encode(authorities []*x509.Certificate, signer *ecdsa.PrivateKey, cert, key []byte) (*bundle, error) {
	var certs []byte
	for _, authority := range authorities {
		certs = append(certs, encodeCert(authority.Raw)...)
	}
	signerPEM, err := encodeKey(signer)
	if err != nil {
		return nil, err
	}
	serving, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return &bundle{authorities: authorities, signer: signer, serving: serving, data: map[string][]byte{
		authorityCerts: certs, authorityKey: signerPEM, servingCert: cert, servingKey: key,
	}}, nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
