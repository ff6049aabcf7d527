package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
)

// podsPrefix is where the API server keeps pods in etcd.
const podsPrefix = "/registry/pods/"

// Snapshot is etcd's data as it was at one moment. It lives until Discard, or Stop.
type Snapshot struct{ dir string }

// Discard removes the snapshot from the disk.
func (s *Snapshot) Discard() error { return os.RemoveAll(s.dir) }

// EtcdURL is where etcd answers, HTTP without TLS; its JSON API is under /v3/.
func (c *Cluster) EtcdURL() string { return local("http", c.ports.etcd) }

// StopEtcd kills etcd alone. The API server stays up and answers with errors.
func (c *Cluster) StopEtcd() { c.etcd.kill() }

// StartEtcd ends an outage of etcd, and returns when it answers.
func (c *Cluster) StartEtcd(ctx context.Context) error {
	if err := c.etcd.start(); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	err := c.await(ctx, "etcd answers", func(ctx context.Context) error {
		_, err := c.revision(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("cluster: restart of etcd: %w", err)
	}
	return nil
}

// Snapshot copies etcd's data. Etcd is killed and started again for it, which is
// the simplest way to a copy that is whole.
func (c *Cluster) Snapshot(ctx context.Context) (*Snapshot, error) {
	dir, err := os.MkdirTemp(c.state.dir, "snapshot-")
	if err != nil {
		return nil, fmt.Errorf("cluster: snapshot: %w", err)
	}
	c.StopEtcd()
	err = copyDir(dir, c.path("etcd"))
	if err := errors.Join(err, c.StartEtcd(ctx)); err != nil {
		return nil, fmt.Errorf("cluster: snapshot: %w", err)
	}
	return &Snapshot{dir: dir}, nil
}

// Restore takes etcd back to a snapshot, the way etcd and Kubernetes recommend: the
// whole control plane is stopped, etcd starts with the old data and a revision above
// all that were ever given out, so that whoever watches has to list anew, and the
// control plane is started again.
//
// Pods get new versions beyond that: the lab's nodes take an object of an older
// version for old news.
//
// It returns the revision at which the world is what the snapshot says; etcd can
// be asked for the state at that revision.
func (c *Cluster) Restore(ctx context.Context, s *Snapshot) (int64, error) {
	latest, err := c.revision(ctx)
	if err != nil {
		return 0, fmt.Errorf("cluster: restore: %w", err)
	}
	for _, p := range c.processes() {
		p.kill()
	}
	err = errors.Join(os.RemoveAll(c.path("etcd")), copyDir(c.path("etcd"), s.dir))
	if err != nil {
		return 0, fmt.Errorf("cluster: restore: %w", err)
	}
	if err := c.StartEtcd(ctx); err != nil {
		return 0, err
	}
	at, err := c.overtake(ctx, latest)
	if err != nil {
		return 0, fmt.Errorf("cluster: restore: %w", err)
	}
	return at, c.startAll(ctx)
}

// startAll starts everything but etcd, which runs.
func (c *Cluster) startAll(ctx context.Context) error {
	if err := c.StartAPIServer(ctx); err != nil {
		return err
	}
	for _, p := range []*process{c.controllers, c.scheduler} {
		if err := p.start(); err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
	}
	if err := c.awaitControllers(ctx); err != nil {
		return fmt.Errorf("cluster: restart: %w", err)
	}
	return nil
}

// overtake brings etcd's revision above latest, touches all pods, and makes what was
// before unreadable. It gives the revision then.
func (c *Cluster) overtake(ctx context.Context, latest int64) (int64, error) {
	now, err := c.revision(ctx)
	if err != nil {
		return 0, err
	}
	if err := c.putOften(ctx, latest-now+1); err != nil {
		return 0, err
	}
	if err := c.touch(ctx, podsPrefix); err != nil {
		return 0, err
	}
	if now, err = c.revision(ctx); err != nil {
		return 0, err
	}
	return now, c.etcdCall(ctx, "kv/compaction", map[string]string{"revision": strconv.FormatInt(now, 10)}, nil)
}

// putOften makes at least n writes of a key that means nothing.
func (c *Cluster) putOften(ctx context.Context, n int64) error {
	const writers = 16
	var running sync.WaitGroup
	var failures [writers]error
	for i := range failures {
		running.Go(func() {
			for range n/writers + 1 {
				if failures[i] == nil {
					failures[i] = c.etcdCall(ctx, "kv/put", keyValue{Key: []byte("lab/revision")}, nil)
				}
			}
		})
	}
	running.Wait()
	return errors.Join(failures[:]...)
}

// keyValue is a key with its value in etcd's JSON API.
type keyValue struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value,omitempty"`
}

// touch writes every value under a prefix once more as it is.
func (c *Cluster) touch(ctx context.Context, prefix string) error {
	end := []byte(prefix)
	end[len(end)-1]++
	var found struct {
		KVs []keyValue `json:"kvs"`
	}
	if err := c.etcdCall(ctx, "kv/range", map[string][]byte{"key": []byte(prefix), "range_end": end}, &found); err != nil {
		return err
	}
	for _, kv := range found.KVs {
		if err := c.etcdCall(ctx, "kv/put", kv, nil); err != nil {
			return err
		}
	}
	return nil
}

// revision is etcd's latest.
func (c *Cluster) revision(ctx context.Context) (int64, error) {
	var answer struct {
		Header struct {
			Revision int64 `json:"revision,string"`
		} `json:"header"`
	}
	err := c.etcdCall(ctx, "kv/range", keyValue{Key: []byte("lab/revision")}, &answer)
	return answer.Header.Revision, err
}

// etcdCall makes a call of etcd's JSON API; the answer may be nil.
func (c *Cluster) etcdCall(ctx context.Context, call string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.EtcdURL()+"/v3/"+call, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd: %s: %s: %s", call, response.Status, content)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(content, answer)
}

// copyDir copies what is in a directory to another, which nobody else may read.
func copyDir(to, from string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}
