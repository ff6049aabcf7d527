package plot

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// canvas maps places along the axis and values to the picture.
type canvas struct {
	n       int     // places
	ceiling float64 // the value at the top
	step    float64 // between two ticks
}

// canvas is not known where no value is.
func (p Plot) canvas() (c canvas, known bool) {
	highest := p.highest()
	if math.IsNaN(highest) {
		return c, false
	}
	c = canvas{n: p.length(), step: niceStep(highest / 4)}
	c.ceiling = c.step * math.Max(1, math.Ceil(highest/c.step-1e-9))
	return c, true
}

// niceStep is the smallest of 1, 2 and 5 times a power of ten that is at least v;
// 1 for nothing.
func niceStep(v float64) float64 {
	if v <= 0.00025 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

func (c canvas) x(i float64) float64 {
	if c.n < 2 {
		return width - right
	}
	return left + i/float64(c.n-1)*(width-left-right)
}

func (c canvas) y(v float64) float64 {
	return height - bottom - v/c.ceiling*(height-top-bottom)
}

// axes draws the grid with its labels: values at the left, seconds ago below.
func (c canvas) axes(b *strings.Builder, p Plot) {
	if p.Unit != "" {
		fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="end">%s</text>`, left-6, top-14, text(p.Unit))
	}
	for v := 0.0; v <= c.ceiling*(1+1e-9); v += c.step {
		class := "grid"
		if v == 0 {
			class = "axis"
		}
		y := c.y(v)
		fmt.Fprintf(b, `<line class="%s" x1="%g" y1="%.2f" x2="%g" y2="%.2f"/>`, class, left, y, width-right, y)
		fmt.Fprintf(b, `<text x="%g" y="%.2f" text-anchor="end">%s</text>`, left-6, y+4, number(v))
	}
	span := time.Duration(c.n-1) * p.Step
	step := time.Duration(niceStep(span.Seconds()/5) * float64(time.Second))
	for ago := time.Duration(0); ago <= span; ago += max(step, time.Millisecond) {
		x := c.x(float64(c.n-1) - float64(ago)/float64(p.Step))
		label, anchor := seconds(ago)+" ago", "middle"
		if ago == 0 {
			label, anchor = "now", "end"
		}
		if x < left+20 {
			anchor = "start"
		}
		fmt.Fprintf(b, `<text x="%.2f" y="%g" text-anchor="%s">%s</text>`, x, height-bottom+16, anchor, label)
	}
}

// lines draws each run of known values as a line, and a marker at its end.
func (c canvas) lines(b *strings.Builder, p Plot) {
	for k, s := range p.Series {
		for from := 0; from < c.n; {
			to := from
			for to < c.n && !math.IsNaN(p.at(s, to)) {
				to++
			}
			if to > from {
				c.run(b, p, k, from, to)
			}
			from = to + 1
		}
	}
}

// run draws the values of series k from one place up to, and without, another.
func (c canvas) run(b *strings.Builder, p Plot, k, from, to int) {
	var points strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&points, "%.2f,%.2f ", c.x(float64(i)), c.y(p.at(p.Series[k], i)))
	}
	line := strings.TrimSpace(points.String())
	start, end, floor := c.x(float64(from)), c.x(float64(to-1)), c.y(0)
	fmt.Fprintf(b, `<polygon class="area s%d" points="%.2f,%.2f %s %.2f,%.2f"/>`, k+1, start, floor, line, end, floor)
	fmt.Fprintf(b, `<polyline class="line s%d" points="%s"/>`, k+1, line)
	marker(b, k, end, c.y(p.at(p.Series[k], to-1)))
}

// marker draws the sign of series k, a shape of its own.
func marker(b *strings.Builder, k int, x, y float64) {
	const r = 3.5
	switch k % 3 {
	case 0:
		fmt.Fprintf(b, `<circle class="marker s%d" cx="%.2f" cy="%.2f" r="%g"/>`, k+1, x, y, r)
	case 1:
		fmt.Fprintf(b, `<rect class="marker s%d" x="%.2f" y="%.2f" width="%g" height="%g"/>`, k+1, x-r, y-r, 2*r, 2*r)
	default:
		fmt.Fprintf(b, `<polygon class="marker s%d" points="%.2f,%.2f %.2f,%.2f %.2f,%.2f"/>`, k+1, x, y-r, x+r, y+r, x-r, y+r)
	}
}

// bars draws one bar for each place, of the known values on top of each other.
func (c canvas) bars(b *strings.Builder, p Plot) {
	p.hatching(b)
	slot := (width - left - right) / float64(c.n)
	gap := math.Min(1.5, slot/4)
	for i := range c.n {
		sum := 0.0
		for k, s := range p.Series {
			v := p.at(s, i)
			if math.IsNaN(v) || v == 0 {
				continue
			}
			low, high := c.y(sum), c.y(sum+v)
			p.bar(b, k, box{x: left + float64(i)*slot + gap/2, y: high, w: slot - gap, h: low - high})
			sum += v
		}
	}
}

type box struct{ x, y, w, h float64 }

func (p Plot) bar(b *strings.Builder, k int, r box) {
	fmt.Fprintf(b, `<rect class="bar s%d" x="%.2f" y="%.2f" width="%.2f" height="%.2f"/>`, k+1, r.x, r.y, r.w, r.h)
	if k > 0 {
		fmt.Fprintf(b, `<rect fill="url(#%s-hatch%d)" x="%.2f" y="%.2f" width="%.2f" height="%.2f"/>`, p.ID, k, r.x, r.y, r.w, r.h)
	}
}

// hatching defines what is laid over the bars of all series but the first, at a
// different angle for each.
func (p Plot) hatching(b *strings.Builder) {
	b.WriteString(`<defs>`)
	for k := 1; k < len(p.Series); k++ {
		fmt.Fprintf(b, `<pattern id="%s-hatch%d" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(%d)"><line class="hatch" x1="0" y1="0" x2="0" y2="5"/></pattern>`,
			p.ID, k, 45+(k-1)*36)
	}
	b.WriteString(`</defs>`)
}

// legend names the series below the picture, three in a row.
func (p Plot) legend(b *strings.Builder) {
	if len(p.Series) < 2 {
		return
	}
	const column = width / 3
	for k, s := range p.Series {
		x, y := 4+float64(k%3)*column, height-20+float64(k/3)*16
		if p.Form == Stacked {
			p.bar(b, k, box{x: x, y: y - 8, w: 14, h: 9})
		} else {
			fmt.Fprintf(b, `<line class="line s%d" x1="%.2f" y1="%.2f" x2="%.2f" y2="%.2f"/>`, k+1, x, y-4, x+14, y-4)
			marker(b, k, x+7, y-4)
		}
		fmt.Fprintf(b, `<text class="legend" x="%.2f" y="%.2f">%s</text>`, x+19, y, text(shortened(s.Name, 20)))
	}
}

// shortened keeps a name within its column.
func shortened(name string, limit int) string {
	if letters := []rune(name); len(letters) > limit {
		return string(letters[:limit-1]) + "…"
	}
	return name
}
