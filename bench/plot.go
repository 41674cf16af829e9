package bench

import (
	"fmt"
	"math"
	"strings"
)

// A Series is one line of a plot.
type Series struct {
	Name string
	X, Y []float64
}

// A Plot is a small drawing with a logarithmic x axis, from 0 on the y axis.
type Plot struct {
	Title, X, Y string
	Series      []Series
}

const (
	plotWidth, plotHeight = 560.0, 280.0
	left, right           = 62.0, 16.0
	above, below          = 40.0, 46.0
)

// colours tell the lines apart on white and on black.
var colours = [...]string{"#2f81c7", "#d9822b", "#5a9e3f", "#8f5fbf"}

// SVG draws the plot.
func (p *Plot) SVG() string {
	minX, maxX, maxY := math.Inf(1), math.Inf(-1), 0.0
	for _, s := range p.Series {
		for i := range s.X {
			minX, maxX, maxY = min(minX, s.X[i]), max(maxX, s.X[i]), max(maxY, s.Y[i])
		}
	}
	step := niceStep(maxY)
	maxY = max(step, math.Ceil(maxY/step)*step)
	if maxX <= minX {
		maxX = minX * 10
	}
	x := func(v float64) float64 {
		return left + (plotWidth-left-right)*math.Log(v/minX)/math.Log(maxX/minX)
	}
	y := func(v float64) float64 { return plotHeight - below - (plotHeight-above-below)*v/maxY }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="sans-serif" font-size="12" fill="#777">`+"\n", plotWidth, plotHeight, plotWidth, plotHeight)
	fmt.Fprintf(&b, "<title>%s</title>\n", p.Title)
	fmt.Fprintf(&b, `<text x="%.0f" y="16" font-size="13">%s</text>`+"\n", left, p.Title)
	for v := 0.0; v <= maxY+step/2; v += step {
		fmt.Fprintf(&b, `<path d="M%.0f %.1fH%.0f" stroke="#8884"/><text x="%.0f" y="%.1f" text-anchor="end">%s</text>`+"\n", left, y(v), plotWidth-right, left-6, y(v)+4, short(v))
	}
	for _, v := range p.ticks() {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.0f" text-anchor="middle">%s</text>`+"\n", x(v), plotHeight-below+16, short(v))
	}
	fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="middle">%s</text>`+"\n", (left+plotWidth-right)/2, plotHeight-10, p.X)
	fmt.Fprintf(&b, `<text transform="translate(14 %.0f) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (above+plotHeight-below)/2, p.Y)
	at := left
	for n, s := range p.Series {
		colour := colours[n%len(colours)]
		var path strings.Builder
		for i := range s.X {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(i, 1)], x(s.X[i]), y(s.Y[i]))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(s.X[i]), y(s.Y[i]), colour)
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", path.String(), colour)
		fmt.Fprintf(&b, `<text x="%.0f" y="32" fill="%s">%s</text>`+"\n", at, colour, s.Name)
		at += 7*float64(len(s.Name)) + 18
	}
	return b.String() + "</svg>\n"
}

// ticks are the sizes that were measured.
func (p *Plot) ticks() []float64 {
	var longest []float64
	for _, s := range p.Series {
		if len(s.X) > len(longest) {
			longest = s.X
		}
	}
	return longest
}

// niceStep divides an axis into about five.
func niceStep(top float64) float64 {
	if top <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(top/5)))
	for _, m := range []float64{1, 2, 5, 10} {
		if top/(m*unit) <= 5 {
			return m * unit
		}
	}
	return 10 * unit
}

// short writes a number for an axis.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%gk", v/1e3)
	}
	return fmt.Sprintf("%g", math.Round(v*1000)/1000)
}
