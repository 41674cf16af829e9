package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

const (
	lineHeight = 34.0
	labelWidth = 230.0
	barWidth   = 230.0
	gap        = 70.0
	top        = 44.0
)

// picture draws two bars for each flow, on logarithmic scales: the honest clients
// that it signs out, and how long a thief lives on average.
func picture(rows []row) string {
	var b strings.Builder
	width, height := labelWidth+2*(barWidth+gap), top+lineHeight*float64(len(rows))+10
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="sans-serif" font-size="12" fill="#777">`+"\n", width, height, width, height)
	left, right := labelWidth, labelWidth+barWidth+gap
	fmt.Fprintf(&b, `<text x="%.0f" y="18">honest sign-outs per million renewals</text>`+"\n", left)
	fmt.Fprintf(&b, `<text x="%.0f" y="18">mean time that a thief has access</text>`+"\n", right)
	for i, r := range rows {
		y := top + lineHeight*float64(i)
		fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="end">%s</text>`+"\n", labelWidth-10, y+14, html.EscapeString(r.name))
		all := r.counts[4]
		bar(&b, left, y, all.perMillion(), 1, 1e6, "#c0504d", rate(all))
		var mean instant
		for _, lives := range r.lives {
			mean += spreadOf(lives).mean / instant(len(r.lives))
		}
		bar(&b, right, y, float64(mean), float64(minute), float64(thiefWatched), "#4f81bd", lasts(mean))
	}
	return b.String() + "</svg>\n"
}

// bar draws a value between two bounds on a logarithmic scale.
func bar(b *strings.Builder, x, y, value, least, most float64, colour, label string) {
	length := 1.0
	if value > least {
		length = max(1, barWidth*math.Log(value/least)/math.Log(most/least))
	}
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="20" fill="%s"/>`+"\n", x, y, length, colour)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%s</text>`+"\n", x+length+5, y+14, html.EscapeString(label))
}
