package sidecar

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// askEvery is how often the application is asked whether it serves. It is in the
	// same pod, so asking costs next to nothing.
	askEvery = 250 * time.Millisecond
	// askLimit bounds one question.
	askLimit = 2 * time.Second
	// complainAfter is after how long a log line says what is waited for.
	complainAfter = 10 * time.Second
)

// await returns when all of the places answer.
func await(ctx context.Context, places []*url.URL, log *slog.Logger) error {
	client := &http.Client{
		// As the kubelet's probes: whom it asks is not in doubt, and proxies are not asked.
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // because the application is in the same pod
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, place := range places {
		began, said := time.Now(), time.Now()
		for {
			err := ask(ctx, client, place)
			if err == nil {
				log.Info("The application serves", "at", place.Redacted(), "after", time.Since(began).Round(time.Millisecond).String())
				break
			}
			if time.Since(said) > complainAfter {
				said = time.Now()
				log.Info("Waiting for the application before registering", "at", place.Redacted(), "error", err.Error())
			}
			if !sleep(ctx, askEvery) {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// ask asks once.
func ask(ctx context.Context, client *http.Client, place *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	if place.Scheme == "tcp" {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", place.Host)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, place.String(), nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}

// sleep waits, and tells whether it did so to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
