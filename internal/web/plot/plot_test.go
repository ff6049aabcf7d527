package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var unknown = math.NaN()

func TestWords(t *testing.T) {
	for name, c := range map[string]struct {
		plot Plot
		want string
	}{
		"nothing":       {Plot{}, "No values yet."},
		"a name alone":  {Plot{Series: []Series{{Name: "failed"}}}, "failed: no values yet."},
		"constant":      {Plot{Unit: "/s", Series: []Series{{Name: "failed", Values: []float64{0, 0}}}}, "failed: always 0/s."},
		"extremes":      {Plot{Unit: "ms", Series: []Series{{Name: "p50", Values: []float64{3, 1, 12.345, 2}}}}, "p50: latest 2 ms (now), highest 12.3 ms (1 s ago), lowest 1 ms (2 s ago)."},
		"gap at end":    {Plot{Step: 5 * time.Second, Series: []Series{{Name: "a", Values: []float64{1, 2, unknown}}}}, "a: latest 2 (5 s ago), highest 2 (5 s ago), lowest 1 (10 s ago)."},
		"two":           {Plot{Series: []Series{{Name: "a", Values: []float64{1}}, {Name: "b", Values: []float64{2000}}}}, "a: always 1. b: always 2k."},
		"not a number":  {Plot{Series: []Series{{Name: "a", Values: []float64{unknown, math.Inf(1), -1}}}}, "a: no values yet."},
		"beyond bounds": {Plot{Series: []Series{{Name: "a", Values: []float64{1e300}}}}, "a: always 1000T."},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.plot.Words(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0001: "0", 0.05: "0.05", 0.25: "0.25", 1: "1", 1.5: "1.5", 9.99: "9.99", 12.34: "12.3", 123.4: "123", 999.6: "1k", 1500: "1.5k", 2e6: "2M", 3e9: "3G",
	} {
		if got := number(v); got != want {
			t.Errorf("%g: got %q, want %q", v, got, want)
		}
	}
}

func TestTicksAreRound(t *testing.T) {
	for highest, want := range map[float64][]string{
		0:    {"0", "1"},
		1:    {"0", "0.5", "1"},
		7:    {"0", "2", "4", "6", "8"},
		8:    {"0", "2", "4", "6", "8"},
		43:   {"0", "20", "40", "60"},
		99:   {"0", "50", "100"},
		1234: {"0", "500", "1k", "1.5k"},
	} {
		svg := string(Plot{Series: []Series{{Name: "a", Values: []float64{0, highest}}}}.SVG())
		var got []string
		for _, m := range regexp.MustCompile(`text-anchor="end">([^<]*)</text>`).FindAllStringSubmatch(svg, -1) {
			if m[1] != "now" {
				got = append(got, m[1])
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%g: got %q, want %q", highest, got, want)
		}
	}
}

func TestNoValuesAreASentence(t *testing.T) {
	for _, series := range [][]Series{nil, {{Name: "a"}}, {{Name: "a", Values: []float64{unknown}}}} {
		if got := string(Plot{Title: "A <b>", Series: series}.SVG()); got != `<p class="empty">A &lt;b&gt;: no values yet.</p>` {
			t.Errorf("got %q", got)
		}
	}
}

func TestSeriesDifferWithoutColour(t *testing.T) {
	values := []float64{1, 2, 3}
	series := []Series{{Name: "a", Values: values}, {Name: "b", Values: values}, {Name: "c", Values: values}}
	lines := string(Plot{ID: "x", Series: series}.SVG())
	for _, marker := range []string{`<circle class="marker s1"`, `<rect class="marker s2"`, `<polygon class="marker s3"`} {
		if !strings.Contains(lines, marker) {
			t.Errorf("no %s", marker)
		}
	}
	bars := string(Plot{ID: "x", Form: Stacked, Series: series}.SVG())
	for _, hatch := range []string{`<pattern id="plot-x-hatch1"`, `url(#plot-x-hatch1)`, `<pattern id="plot-x-hatch2"`, `url(#plot-x-hatch2)`} {
		if !strings.Contains(bars, hatch) {
			t.Errorf("no %s", hatch)
		}
	}
}

// TestAnythingCanBeDrawn: whatever the values, the picture is well-formed, has a
// name and words, holds no NaN, and stays within its box.
func TestAnythingCanBeDrawn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { sound(t, drawPlot(t)) })
}

func FuzzAnythingCanBeDrawn(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { sound(t, drawPlot(t)) }))
}

func drawPlot(t *rapid.T) Plot {
	value := rapid.OneOf(
		rapid.Float64(), rapid.Float64Range(0, 10), rapid.SampledFrom([]float64{0, unknown, math.Inf(1), math.Inf(-1), -1, math.MaxFloat64, 5e-324}),
	)
	p := Plot{
		ID: rapid.String().Draw(t, "id"), Title: rapid.String().Draw(t, "title"), Unit: rapid.String().Draw(t, "unit"),
		Form: rapid.SampledFrom([]Form{Lines, Stacked}).Draw(t, "form"),
		Step: time.Duration(rapid.Int64().Draw(t, "step")),
	}
	for range rapid.IntRange(0, 8).Draw(t, "series") {
		p.Series = append(p.Series, Series{Name: rapid.String().Draw(t, "name"), Values: rapid.SliceOfN(value, 0, 50).Draw(t, "values")})
	}
	return p
}

func sound(t *rapid.T, p Plot) {
	drawn := string(p.SVG())
	if strings.Contains(drawn, `style=`) || strings.Contains(drawn, "<script") {
		t.Fatalf("inline style or script in %s", drawn)
	}
	names := map[string]int{}
	decoder := xml.NewDecoder(strings.NewReader(drawn))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, drawn)
		}
		if element, is := token.(xml.StartElement); is {
			names[element.Name.Local]++
			within(t, element)
		}
	}
	if names["svg"] == 1 && (names["title"] != 1 || names["desc"] != 1) || names["svg"] == 0 && names["p"] != 1 {
		t.Fatalf("got %v in %s", names, drawn)
	}
}

// within checks every coordinate of an element. What is drawn in a pattern is
// not in the picture's coordinates, and small.
func within(t *rapid.T, element xml.StartElement) {
	at := map[string]float64{}
	for _, a := range element.Attr {
		switch name := a.Name.Local; name {
		case "x", "x1", "x2", "cx", "y", "y1", "y2", "cy", "width", "height", "r":
			at[name] = finite(t, a.Value)
		case "points":
			for pair := range strings.FieldsSeq(a.Value) {
				x, y, _ := strings.Cut(pair, ",")
				inside(t, element, finite(t, x), finite(t, y))
			}
		}
	}
	inside(t, element, at["x"]+at["width"], at["y"]+at["height"])
	inside(t, element, at["x"], at["y"])
	inside(t, element, at["x1"], at["y1"])
	inside(t, element, at["x2"], at["y2"])
	inside(t, element, at["cx"]+at["r"], at["cy"]+at["r"])
}

func finite(t *rapid.T, text string) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		t.Fatalf("a coordinate is %q", text)
	}
	return v
}

func inside(t *rapid.T, element xml.StartElement, x, y float64) {
	if x < 0 || x > width || y < 0 || y > height {
		t.Fatalf("%.2f, %.2f is outside of the picture: %v", x, y, element)
	}
}
