package image_test

import (
	"archive/tar"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/targetgroupcontroller/targetgroupcontroller/image"
)

// program builds the smallest program, under a name, with settings of the go command
// such as GOARCH=arm64.
func program(t *testing.T, name string, settings ...string) string {
	t.Helper()
	dir := t.TempDir()
	source, path := filepath.Join(dir, "main.go"), filepath.Join(dir, name)
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, source)
	command.Env = append(append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0"), settings...)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return path
}

// pack makes an image with fixed labels and a fixed time.
func pack(t *testing.T, paths ...string) v1.Image {
	t.Helper()
	programs, err := image.Pack(paths...)
	if err != nil {
		t.Fatal(err)
	}
	made, err := programs.Image(image.Config{
		Entrypoint: []string{"/main", "serve"}, Labels: map[string]string{"version": "v1"}, Created: time.Unix(1e9, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func digest(t *testing.T, of interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	hash, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestSameProgramsGiveTheSameBytes(t *testing.T) {
	one := pack(t, program(t, "main"), program(t, "other"))
	if again := pack(t, program(t, "other"), program(t, "main")); digest(t, one) != digest(t, again) {
		t.Errorf("%v, and again %v", digest(t, one), digest(t, again))
	}
}

func TestImageSaysWhatItIs(t *testing.T) {
	file, err := pack(t, program(t, "main", "GOARCH=arm64")).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.Platform().String() != "linux/arm64" || !file.Created.Equal(time.Unix(1e9, 0)) {
		t.Errorf("made for %s at %v", file.Platform(), file.Created)
	}
	c := file.Config
	if c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/main", "serve"}) || c.Labels["version"] != "v1" {
		t.Errorf("%+v", c)
	}
}

// What was pushed is what is pulled, for each platform its own.
func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(t.Output(), "", 0))))
	t.Cleanup(server.Close)
	to := strings.TrimPrefix(server.URL, "http://") + "/team/tgc:v1"
	path := program(t, "main")
	index, err := image.Index(map[string]string{"version": "v1"}, pack(t, path), pack(t, program(t, "main", "GOARCH=arm64")))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is there already does no harm
		if err := image.Push(t.Context(), to, index); err != nil {
			t.Fatal(err)
		}
	}
	reference, err := name.ParseReference(to)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Index(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(pulled); err != nil || digest(t, pulled) != digest(t, index) {
		t.Errorf("%v; pushed %v, pulled %v", err, digest(t, index), digest(t, pulled))
	}
	for _, architecture := range []string{"amd64", "arm64"} {
		one, err := remote.Image(reference, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: architecture}))
		if err != nil {
			t.Fatal(err)
		}
		file, err := one.ConfigFile()
		if err != nil || file.Architecture != architecture {
			t.Errorf("%v: asked for %s, got %+v", err, architecture, file)
		}
		if architecture == "amd64" {
			holds(t, one, path)
		}
	}
}

// holds checks that a program is all that there is in an image.
func holds(t *testing.T, of v1.Image, path string) {
	t.Helper()
	layers, err := of.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := tar.NewReader(content)
	header, err := files.Next()
	if err != nil {
		t.Fatal(err)
	}
	have, err := io.ReadAll(files)
	if err != nil || header.Name != "main" || header.Mode != 0o755 || string(have) != string(want) {
		t.Errorf("%v; %+v with %d bytes, want %d", err, header, len(have), len(want))
	}
	if _, err := files.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("there is more: %v", err)
	}
}

func TestPushTellsWhyItFails(t *testing.T) {
	refusing := func(code int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				w.WriteHeader(code)
			}
		}))
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://") + "/tgc:v1"
	}
	made := pack(t, program(t, "main"))
	for to, want := range map[string]string{
		"tgc":                             `"tgc" is no name to push to, such as registry.example/tgc:v1`,
		"localhost:1/tgc:v1":              "connection refused",
		"registry.invalid/tgc:v1":         "lookup registry.invalid",
		refusing(http.StatusForbidden):    "may not push to this name",
		refusing(http.StatusUnauthorized): "log in with docker login",
	} {
		if err := image.Push(t.Context(), to, made); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant: %s", to, err, want)
		}
	}
}

func TestPackRefusesWhatWouldNotRun(t *testing.T) {
	text := filepath.Join(t.TempDir(), "tgc")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	amd64, arm64 := program(t, "main"), program(t, "other", "GOARCH=arm64")
	for want, paths := range map[string][]string{
		"no programs are given":                   nil,
		"no program that go built":                {text},
		"no such file":                            {filepath.Join(t.TempDir(), "nothing")},
		"build it with GOOS=linux CGO_ENABLED=0":  {program(t, "main", "GOOS=darwin")},
		"an image is for one platform":            {amd64, arm64},
		"was built with GOOS=linux CGO_ENABLED=1": {program(t, "main", "CGO_ENABLED=1")},
	} {
		if _, err := image.Pack(paths...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v\nwant: %s", paths, err, want)
		}
	}
}
