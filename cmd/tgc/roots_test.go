package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// In an image from scratch there are no certificates of authorities: AWS is known by
// those that the program brings.
func TestKnowsAuthoritiesWithoutASystem(t *testing.T) {
	if os.Getenv("TEST_ROOTS") == "" {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		nothing := t.TempDir()
		command.Env = append(os.Environ(), "TEST_ROOTS=1", "SSL_CERT_FILE="+nothing+"/none", "SSL_CERT_DIR="+nothing)
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, output)
		}
		return
	}
	const amazon = "Amazon Root CA 1"
	for root := range bundle.Roots() {
		certificate, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		if certificate.Subject.CommonName != amazon {
			continue
		}
		if _, err := certificate.Verify(x509.VerifyOptions{}); err != nil {
			t.Error(err)
		}
		return
	}
	t.Errorf("%s is not there", amazon)
}
