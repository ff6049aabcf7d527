package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"time"
)

//go:embed assets
var assets embed.FS

// Layout is what every page begins with: the template "layout", and functions
// for all templates that are parsed into it:
//
//	age      a time.Duration, in words short enough for a table: 350 ms, 2.1 s, 3 min 20 s, 5 h 2 min
//	clock    a time.Time, as the time of day with milliseconds
//
// Each call makes a new one.
func Layout() *template.Template {
	funcs := template.FuncMap{
		"age":   Age,
		"clock": func(t time.Time) string { return t.Format("15:04:05.000") },
	}
	return template.Must(template.New("").Funcs(funcs).ParseFS(assets, "assets/layout.html"))
}

// Age says how long something lasts or is ago, with two or three digits that
// matter.
func Age(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Age(-d)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

// asset serves a file of this package. Browsers keep it and ask whether it is
// still the same.
func asset(name string) http.Handler {
	content, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // the file is compiled in
	}
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	})
}
