package elbsim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// admin makes a call of the admin API and reads its answer into answer, unless
// that is nil.
func (w wire) admin(t *testing.T, method, path, body string, answer any) int {
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), method, w.url+AdminPath+path, strings.NewReader(body)))(t)
	response := must(http.DefaultClient.Do(r))(t)
	defer response.Body.Close()
	content := must(io.ReadAll(response.Body))(t)
	if answer != nil && response.StatusCode == http.StatusOK {
		if err := json.Unmarshal(content, answer); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, content)
		}
	}
	return response.StatusCode
}

func (w wire) register(t *testing.T, address string) string {
	t.Helper()
	_, body := w.post(t, signed("AKID"), "Action=RegisterTargets&Version=2015-12-01&TargetGroupArn="+url.QueryEscape(w.arn)+"&Targets.member.1.Id="+address)
	return body
}

func TestAdminScriptsFaults(t *testing.T) {
	w := newWire(t, nil)
	var fault Fault
	status := w.admin(t, "POST", "/faults", `{"action":"RegisterTargets","kind":"fail","code":"ServiceUnavailable","message":"not now","count":1}`, &fault)
	if status != 200 || fault.ID != 1 || fault.Status != 503 {
		t.Fatalf("got %d, %+v", status, fault)
	}
	if body := w.register(t, "10.0.0.1"); !strings.Contains(body, "<Type>Receiver</Type>") || !strings.Contains(body, "not now") {
		t.Errorf("got %s", body)
	}
	if body := w.register(t, "10.0.0.1"); !strings.Contains(body, "RegisterTargetsResult") {
		t.Errorf("got %s", body)
	}
	var list faultList
	w.admin(t, "GET", "/faults", "", &list)
	if len(list.Faults) != 1 || list.Faults[0].Selected != 2 {
		t.Errorf("got %+v", list)
	}
	for _, want := range []int{204, 404} {
		if status := w.admin(t, "DELETE", "/faults/1", "", nil); status != want {
			t.Errorf("got %d, want %d", status, want)
		}
	}
	w.admin(t, "DELETE", "/faults", "", nil)
}

func TestAdminTellsCallsAndWaitsForThem(t *testing.T) {
	w := newWire(t, nil)
	w.register(t, "10.0.0.1")
	var first CallList
	w.admin(t, "GET", "/calls?action=RegisterTargets", "", &first)
	if len(first.Calls) != 1 || first.Calls[0].Code != CodeOK || first.Next == 0 {
		t.Fatalf("got %+v", first)
	}
	received := make(chan CallList)
	go func() {
		var next CallList
		w.admin(t, "GET", fmt.Sprintf("/calls?after=%d&wait=30s", first.Next), "", &next)
		received <- next
	}()
	w.register(t, "10.0.0.2")
	if next := <-received; len(next.Calls) != 1 || next.Calls[0].Seq != 2 {
		t.Errorf("got %+v", next)
	}
	w.admin(t, "DELETE", "/calls", "", nil)
	var empty CallList
	if w.admin(t, "GET", "/calls", "", &empty); len(empty.Calls) != 0 {
		t.Errorf("got %+v", empty)
	}
}

func TestAdminChangesSettings(t *testing.T) {
	w := newWire(t, nil)
	var settings Settings
	if status := w.admin(t, "PATCH", "/settings", `{"latency":{"fixed":"1ms"},"buckets":null}`, &settings); status != 200 {
		t.Fatal(status)
	}
	now := w.sim.Settings()
	if now.Latency.Fixed != Duration(time.Millisecond) || now.Buckets != nil || now.ThrottleCode != "Throttling" || settings.Latency != now.Latency {
		t.Errorf("got %+v", now)
	}
	if status := w.admin(t, "PATCH", "/settings", `{"buckets":{"describe":{"capacity":1,"perSecond":1}}}`, nil); status != 200 || len(w.sim.Settings().Buckets) != 1 {
		t.Errorf("got %d, %+v", status, w.sim.Settings())
	}
	var told Settings
	if w.admin(t, "GET", "/settings", "", &told); told.Latency != now.Latency {
		t.Errorf("got %+v", told)
	}
}

func TestAdminShowsAndChangesGroups(t *testing.T) {
	w := newWire(t, nil)
	w.register(t, "10.0.0.1")
	if status := w.admin(t, "PUT", "/health", `{"group":"`+w.arn+`","target":"10.0.0.1:80","state":"healthy"}`, nil); status != 204 {
		t.Errorf("got %d", status)
	}
	var made struct{ ARN string }
	w.admin(t, "POST", "/groups", `{"name":"more","targets":["10.0.0.9:81"]}`, &made)
	var list groupList
	w.admin(t, "GET", "/groups", "", &list)
	if len(list.Groups) != 2 || list.Groups[0].Targets[0].State != "healthy" || list.Groups[1].ARN != made.ARN {
		t.Errorf("got %+v", list)
	}
	if status := w.admin(t, "DELETE", "/groups?arn="+url.QueryEscape(w.arn), "", nil); status != 204 {
		t.Errorf("got %d", status)
	}
	if body := w.register(t, "10.0.0.1"); !strings.Contains(body, "TargetGroupNotFound") {
		t.Errorf("got %s", body)
	}
	w.admin(t, "POST", "/reset", "", nil)
	if w.admin(t, "GET", "/groups", "", &list); len(list.Groups) != 0 {
		t.Errorf("got %+v", list)
	}
}

func TestAdminRefusesWhatMakesNoSense(t *testing.T) {
	w := newWire(t, nil)
	for _, call := range [][3]string{
		{"POST", "/faults", `{"kind":"explode"}`},
		{"POST", "/faults", `{"knd":"drop"}`},
		{"POST", "/faults", `{`},
		{"PATCH", "/settings", `{"throttleCode":"Slow"}`},
		{"PATCH", "/settings", `{"latency":{"fixed":"soon"}}`},
		{"PUT", "/health", `{"group":"x"}`},
		{"PUT", "/health", `{"group":"` + w.arn + `","target":"x"}`},
		{"PUT", "/health", `{"group":"` + w.arn + `","target":"10.0.0.1:80","state":"healthy"}`},
		{"POST", "/groups", `{"name":"-"}`},
		{"DELETE", "/groups?arn=x", ""},
		{"GET", "/calls?after=x", ""},
		{"GET", "/calls?wait=x", ""},
	} {
		if status := w.admin(t, call[0], call[1], call[2], nil); status != http.StatusBadRequest {
			t.Errorf("%v: got %d", call, status)
		}
	}
}

func TestAdminRefusesOtherSites(t *testing.T) {
	w := newWire(t, nil)
	r := must(http.NewRequestWithContext(t.Context(), "POST", w.url+AdminPath+"/reset", nil))(t)
	r.Header.Set("Origin", "http://elsewhere.example")
	response := must(http.DefaultClient.Do(r))(t)
	defer response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("got %d", response.StatusCode)
	}
}
