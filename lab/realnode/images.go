package realnode

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/kube"
)

// Tag of the images on real nodes. Without a tag the kubelet would ask a registry
// for a newer image each time.
const Tag = ":1"

const pauseImage = "lab.local/pause" + Tag

// program is an executable of the lab or of the project, to be built into dir.
type program struct{ dir, pkg, output string }

// build makes the first process of nodes and the archives of all images:
// lab.local/web, echo, job and pause, which are one executable, and lab.local/tgc, whose
// is the project's.
func build(ctx context.Context, dir string) (nodeinit string, archives []string, err error) {
	lab, err := kube.SourceDir()
	if err != nil {
		return "", nil, err
	}
	nodeinit = filepath.Join(dir, "nodeinit")
	container, tgc := filepath.Join(dir, "container"), filepath.Join(dir, "tgc")
	for _, p := range []program{
		{lab, "./cmd/nodeinit", nodeinit},
		{lab, "./cmd/container", container},
		{filepath.Dir(lab), "./cmd/tgc", tgc},
	} {
		if _, err := kube.GoTool(ctx, p.dir, "build", "-ldflags=-s -w", "-o", p.output, p.pkg); err != nil {
			return "", nil, fmt.Errorf("build %s: %w", p.pkg, err)
		}
	}
	images := map[string][]image{
		container: {
			{"lab.local/web" + Tag, []string{"/container", "web"}},
			{"lab.local/echo" + Tag, []string{"/container", "echo"}},
			{"lab.local/job" + Tag, []string{"/container", "job"}},
			{pauseImage, []string{"/container", "pause"}},
		},
		tgc: {{"lab.local/tgc" + Tag, []string{"/tgc"}}},
	}
	for executable, list := range images {
		archive := executable + ".tar"
		if err := writeArchive(archive, executable, list); err != nil {
			return "", nil, fmt.Errorf("write images: %w", err)
		}
		archives = append(archives, archive)
	}
	return nodeinit, archives, nil
}

// image is a name and what it runs.
type image struct {
	name       string
	entrypoint []string
}

// anybody is the user that containers run as: no process of theirs needs more.
const anybody = "65532:65532"

// config is the part of an image's configuration that a runtime needs.
type config struct {
	Architecture string        `json:"architecture"`
	OS           string        `json:"os"`
	Config       configProcess `json:"config"`
	RootFS       configLayers  `json:"rootfs"`
}

type configProcess struct {
	User       string
	Entrypoint []string
}

type configLayers struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// manifest is an entry of manifest.json.
type manifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// writeArchive writes images that share one layer, which holds one static
// executable, in the format of `docker save`: no registry is needed to make it.
func writeArchive(path, executable string, images []image) (err error) {
	layer, err := layerOf(executable)
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	sum := sha256.Sum256(layer)
	digest := hex.EncodeToString(sum[:])
	const layerName = "layer.tar"
	archive := tar.NewWriter(file)
	if err := add(archive, layerName, 0o644, layer); err != nil {
		return err
	}
	var index []manifest
	for _, image := range images {
		content, err := json.Marshal(config{
			Architecture: runtime.GOARCH, OS: "linux",
			Config: configProcess{User: anybody, Entrypoint: image.entrypoint},
			RootFS: configLayers{Type: "layers", DiffIDs: []string{"sha256:" + digest}},
		})
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		name := hex.EncodeToString(sum[:]) + ".json"
		if err := add(archive, name, 0o644, content); err != nil {
			return err
		}
		index = append(index, manifest{Config: name, RepoTags: []string{image.name}, Layers: []string{layerName}})
	}
	content, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return errors.Join(add(archive, "manifest.json", 0o644, content), archive.Close())
}

// layerOf is a file system with nothing but an executable in its root.
func layerOf(executable string) ([]byte, error) {
	content, err := os.ReadFile(executable)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err = errors.Join(add(w, filepath.Base(executable), 0o755, content), w.Close())
	return layer.Bytes(), err
}

func add(w *tar.Writer, name string, mode int64, content []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := io.Copy(w, bytes.NewReader(content))
	return err
}
