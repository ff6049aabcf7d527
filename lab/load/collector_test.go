package load

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
)

func TestCollector(t *testing.T) {
	c := NewCollector()
	for _, reach := range [][2]string{
		{"a-0", "p"},
		{"a-1", "p"},
		{"b-0", "q"},
		{"a-1", "q"},
		{"a-1", "p"},
		{"a-70000", "q"},
		{"", "p"},
		{"nothing", "p"},
		{"a-x", "p"},
		{"a-99999999999", "p"},
	} {
		c.Reached(reach[0], reach[1])
	}
	want := Duplicates{Reached: 3, Count: 1, First: []Duplicate{{"a-1", []string{"p", "q", "p"}}}}
	if got := c.Duplicates("a"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := c.Duplicates("c"); !reflect.DeepEqual(got, Duplicates{}) {
		t.Errorf("of a run that never was: %+v", got)
	}
	for id, want := range map[string]string{"a-0": "p", "a-1": "p", "b-0": "q", "a-70000": "q", "a-2": "", "c-0": "", "": ""} {
		if pod, known := c.Pod(id); pod != want || known != (want != "") {
			t.Errorf("%q reached %q, %v, want %q", id, pod, known, want)
		}
	}
}

func TestCollectorIsBounded(t *testing.T) {
	c := NewCollector()
	var all sync.WaitGroup
	for pod := range 4 {
		all.Go(func() {
			for i := range 3 * maxDuplicates {
				c.Reached(fmt.Sprintf("r-%d", i), fmt.Sprint(pod))
			}
			for range 3 * maxReaches {
				c.Reached("r-0", fmt.Sprint(pod))
			}
		})
	}
	all.Wait()
	got := c.Duplicates("r")
	if got.Reached != 3*maxDuplicates || got.Count != 3*maxDuplicates || len(got.First) != maxDuplicates {
		t.Errorf("%d reached, %d duplicates, %d of them kept", got.Reached, got.Count, len(got.First))
	}
	for _, d := range got.First {
		if len(d.Pods) > maxReaches {
			t.Fatalf("%s keeps %d pods", d.ID, len(d.Pods))
		}
	}
}
