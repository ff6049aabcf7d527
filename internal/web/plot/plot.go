// Package plot draws a few series of values as SVG that goes into a page as it
// is: no script, no inline style, colours by class (s1 to s6, from the stylesheet
// of package web), and the same said in words for who does not see it.
package plot

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
	"time"
	"unicode"
)

// Form is how series are drawn.
type Form int

// The forms of plots.
const (
	// Lines draws each series as a line with a faint area below.
	Lines Form = iota
	// Stacked puts the series on top of each other, as bars.
	Stacked
)

// Plot is what is to be drawn: values that were taken at equal distances of
// time, up to now.
type Plot struct {
	// ID is unique in the page, a word of letters, digits and dashes.
	ID    string
	Title string // a few words; what is drawn
	Unit  string // of the values, such as "/s" or "ms"; may be empty
	Form  Form
	// Step is the time between two values, an hour at most; zero is a second.
	Step   time.Duration
	Series []Series // at most six; more are not drawn
}

// Series is one line, or one part of every bar.
type Series struct {
	Name string
	// Values are oldest first; the last is that of now. What is negative or not
	// a finite number counts as not known and is left out. Values above 1e15 are
	// drawn as that.
	Values []float64
}

// maxSeries is how many series can be told apart.
const maxSeries = 6

// maxValue keeps sums of values exact enough, and their labels readable.
const maxValue = 1e15

// The picture, in its own units. Its width fits a phone without making the text
// too small to read.
const (
	width, height = 400.0, 215.0
	left, right   = 48.0, 8.0
	top, bottom   = 26.0, 56.0
)

// SVG draws the plot. It is the same for equal plots. Where no value is known it
// is a sentence instead.
func (p Plot) SVG() template.HTML {
	p = p.clean()
	c, known := p.canvas()
	if !known {
		return template.HTML(`<p class="empty">` + text(p.Title) + `: no values yet.</p>`) //nolint:gosec // escaped
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %g %g" role="img" aria-labelledby="%s-title %[3]s-desc">`, width, height, p.ID)
	fmt.Fprintf(&b, `<title id="%s-title">%s</title><desc id="%[1]s-desc">%s</desc>`, p.ID, text(p.Title), text(p.Words()))
	c.axes(&b, p)
	if p.Form == Stacked {
		c.bars(&b, p)
	} else {
		c.lines(&b, p)
	}
	p.legend(&b)
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // every text in it is escaped
}

// clean makes all that can be drawn of what was given: what is not known is NaN
// from here on.
func (p Plot) clean() Plot {
	if p.Step <= 0 {
		p.Step = time.Second
	}
	p.Step = min(p.Step, time.Hour)
	p.ID = word(p.ID)
	series := make([]Series, min(len(p.Series), maxSeries))
	for i := range series {
		values := make([]float64, len(p.Series[i].Values))
		for j, v := range p.Series[i].Values {
			values[j] = math.NaN()
			if v >= 0 && !math.IsInf(v, 1) {
				values[j] = min(v, maxValue)
			}
		}
		series[i] = Series{Name: p.Series[i].Name, Values: values}
	}
	p.Series = series
	return p
}

// text is s as XML takes it: escaped, and without what cannot be escaped.
func text(s string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\ufffe' || r == '\uffff' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�")))
}

// word leaves only what an id may hold without being quoted.
func word(id string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return -1
	}, "plot-"+id)
}

// length is that of the longest series.
func (p Plot) length() int {
	n := 0
	for _, s := range p.Series {
		n = max(n, len(s.Values))
	}
	return n
}

// at is the value of a series i places along the axis, NaN where none is known.
// Shorter series end at the same moment as the longest.
func (p Plot) at(s Series, i int) float64 {
	i -= p.length() - len(s.Values)
	if i < 0 {
		return math.NaN()
	}
	return s.Values[i]
}

// highest is the largest value, or the largest sum where series are stacked; NaN
// where none is known.
func (p Plot) highest() float64 {
	highest := math.NaN()
	for i := range p.length() {
		sum := 0.0
		for _, s := range p.Series {
			v := p.at(s, i)
			if math.IsNaN(v) {
				continue
			}
			sum += v
			if p.Form == Stacked {
				v = sum
			}
			if !(v <= highest) {
				highest = v
			}
		}
	}
	return highest
}

// Words says what the picture shows: for each series the latest value, and the
// highest and lowest with how long ago they were.
func (p Plot) Words() string {
	p = p.clean()
	var sentences []string
	for _, s := range p.Series {
		sentences = append(sentences, p.words(s))
	}
	if len(sentences) == 0 {
		return "No values yet."
	}
	return strings.Join(sentences, " ")
}

func (p Plot) words(s Series) string {
	latest, low, high := -1, -1, -1
	for i, v := range s.Values {
		if math.IsNaN(v) {
			continue
		}
		latest = i
		if low < 0 || v <= s.Values[low] {
			low = i
		}
		if high < 0 || v >= s.Values[high] {
			high = i
		}
	}
	if latest < 0 {
		return s.Name + ": no values yet."
	}
	value := func(i int) string { return number(s.Values[i]) + unit(p.Unit) + p.ago(len(s.Values)-1-i) }
	if s.Values[low] == s.Values[high] {
		return fmt.Sprintf("%s: always %s.", s.Name, number(s.Values[latest])+unit(p.Unit))
	}
	return fmt.Sprintf("%s: latest %s, highest %s, lowest %s.", s.Name, value(latest), value(high), value(low))
}

func (p Plot) ago(steps int) string {
	if steps == 0 {
		return " (now)"
	}
	return " (" + seconds(time.Duration(steps)*p.Step) + " ago)"
}

func unit(u string) string {
	if u == "" || strings.HasPrefix(u, "/") {
		return u
	}
	return " " + u
}

func seconds(d time.Duration) string { return number(d.Seconds()) + " s" }

// number writes v with at most three digits that matter, and a k, M, G or T
// where it is large.
func number(v float64) string {
	suffix := ""
	for _, s := range []string{"k", "M", "G", "T"} {
		if v < 999.5 {
			break
		}
		v, suffix = v/1000, s
	}
	digits := 0
	switch {
	case v < 0.0005:
		return "0" + suffix
	case v < 1:
		digits = 3
	case v < 9.995:
		digits = 2
	case v < 99.95:
		digits = 1
	}
	text := fmt.Sprintf("%.*f", digits, v)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + suffix
}
