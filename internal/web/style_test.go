package web

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// schemes reads the colours of the stylesheet: light, and dark put over it.
func schemes(t *testing.T) (light, dark map[string]string) {
	t.Helper()
	css, err := assets.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(string(css), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of properties, want one for each scheme", len(blocks))
	}
	property := regexp.MustCompile(`--([a-z0-9-]+): (#[0-9a-f]{6});`)
	read := func(block string) map[string]string {
		colors := map[string]string{}
		for _, m := range property.FindAllStringSubmatch(block, -1) {
			colors[m[1]] = m[2]
		}
		return colors
	}
	return read(blocks[0][1]), read(blocks[1][1])
}

// luminance and contrast are those of WCAG 2.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(hex, "#"), 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	linear := func(c uint64) float64 {
		v := float64(c&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n>>16) + 0.7152*linear(n>>8) + 0.0722*linear(n)
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func TestContrast(t *testing.T) {
	if got := contrast(t, "#000000", "#ffffff"); math.Abs(got-21) > 1e-9 {
		t.Fatalf("black on white is %.2f", got)
	}
	light, dark := schemes(t)
	for name := range light {
		if dark[name] == "" {
			t.Errorf("--%s has no dark colour", name)
		}
	}
	pairs := map[[2]string]float64{
		{"on-accent", "accent"}: 4.5, {"page", "text"}: 4.5, // buttons; the toast
		{"edge", "panel"}: 3, {"edge", "page"}: 3, // fields
	}
	for _, ground := range []string{"page", "panel", "sunken"} {
		for _, color := range []string{"text", "muted", "accent", "bad"} {
			pairs[[2]string{color, ground}] = 4.5
		}
	}
	for _, state := range []string{"good", "bad", "wait", "leave", "idle"} {
		pairs[[2]string{state, state + "-soft"}] = 4.5
		pairs[[2]string{state, "panel"}] = 4.5
	}
	for _, series := range []string{"s1", "s2", "s3", "s4", "s5", "s6"} {
		pairs[[2]string{series, "panel"}] = 3 // graphics
	}
	for scheme, colors := range map[string]map[string]string{"light": light, "dark": dark} {
		for pair, least := range pairs {
			if got := contrast(t, colors[pair[0]], colors[pair[1]]); got < least {
				t.Errorf("%s: --%s on --%s has a contrast of %.2f, want %.1f", scheme, pair[0], pair[1], got, least)
			}
		}
	}
}

// TestColoursAreProperties: a colour that is written anywhere else is not looked
// at by TestContrast.
func TestColoursAreProperties(t *testing.T) {
	css, err := assets.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(css), "\n") {
		if regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b|rgba?\(|hsla?\(`).MatchString(line) && !strings.HasPrefix(strings.TrimSpace(line), "--") {
			t.Errorf("line %d: %s", i+1, line)
		}
	}
}
