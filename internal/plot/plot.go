package plot

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Anchor says which point of a text its place is.
type Anchor string

// The anchors of a text.
const (
	Start  Anchor = "start"
	Middle Anchor = "middle"
	End    Anchor = "end"
)

// Point is a place, in SVG units from the upper left corner.
type Point struct{ X, Y float64 }

// Box is a rectangle. Radius is that of its corners.
type Box struct{ X, Y, W, H, Radius float64 }

// Drawing is a chart. Its size may be set at any time before it is written.
type Drawing struct {
	Width, Height float64
	body          strings.Builder
}

// Text writes a line of text.
func (d *Drawing) Text(class string, at Point, anchor Anchor, text string) {
	d.open("text", class)
	d.set("x", at.X)
	d.set("y", at.Y)
	if anchor != Start {
		fmt.Fprintf(&d.body, ` text-anchor="%s"`, anchor)
	}
	fmt.Fprintf(&d.body, ">%s</text>\n", escape(text))
}

// Rect draws a rectangle. about is shown to who points at it; "": nothing is.
func (d *Drawing) Rect(class string, b Box, about string) {
	d.open("rect", class)
	d.set("x", b.X)
	d.set("y", b.Y)
	d.set("width", b.W)
	d.set("height", b.H)
	if b.Radius > 0 {
		d.set("rx", b.Radius)
	}
	d.shut("rect", about)
}

// Line draws a straight line.
func (d *Drawing) Line(class string, from, to Point) {
	d.open("line", class)
	d.set("x1", from.X)
	d.set("x2", to.X)
	d.set("y1", from.Y)
	d.set("y2", to.Y)
	d.shut("line", "")
}

// Circle draws a dot.
func (d *Drawing) Circle(class string, at Point, radius float64) {
	d.open("circle", class)
	d.set("cx", at.X)
	d.set("cy", at.Y)
	d.set("r", radius)
	d.shut("circle", "")
}

// Curve draws a line through points.
func (d *Drawing) Curve(class string, points []Point) {
	d.open("polyline", class)
	d.body.WriteString(` points="`)
	for i, p := range points {
		if i > 0 {
			d.body.WriteByte(' ')
		}
		d.body.WriteString(number(p.X) + "," + number(p.Y))
	}
	d.body.WriteByte('"')
	d.shut("polyline", "")
}

// Cross draws a cross as wide as size around a point.
func (d *Drawing) Cross(class string, at Point, size float64, about string) {
	d.open("path", class)
	fmt.Fprintf(&d.body, ` d="M%s %sl%s %sm0 -%sl-%s %s"`, number(at.X-size/2), number(at.Y-size/2),
		number(size), number(size), number(size), number(size), number(size))
	d.shut("path", about)
}

// open begins an element, set gives it an attribute, shut ends it.
func (d *Drawing) open(element, class string) {
	d.body.WriteString("<" + element)
	if class != "" {
		fmt.Fprintf(&d.body, ` class="%s"`, escape(class))
	}
}

func (d *Drawing) set(name string, v float64) { fmt.Fprintf(&d.body, ` %s="%s"`, name, number(v)) }

func (d *Drawing) shut(element, about string) {
	if about == "" {
		d.body.WriteString("/>\n")
		return
	}
	fmt.Fprintf(&d.body, "><title>%s</title></%s>\n", escape(about), element)
}

// Document writes the drawing as a file of its own. style is CSS.
func (d *Drawing) Document(out io.Writer, style string) error {
	w, h := number(d.Width), number(d.Height)
	_, err := fmt.Fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %s %s\" width=\"%s\" height=\"%s\" role=\"img\">\n<style>\n%s</style>\n%s</svg>\n",
		w, h, w, h, style, d.body.String())
	return err
}

// Inline returns the drawing as an element of an HTML page, which has its style. label is for who cannot see it.
func (d *Drawing) Inline(label string) string {
	return fmt.Sprintf("<svg viewBox=\"0 0 %s %s\" role=\"img\" aria-label=\"%s\">\n%s</svg>\n",
		number(d.Width), number(d.Height), escape(label), d.body.String())
}

// number writes a length: a tenth of a unit is finer than anybody sees.
func number(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

func escape(s string) string {
	var b strings.Builder
	// A strings.Builder takes everything.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// Scale maps values from Low to High to places between From and To. Values beyond lie at the nearer end. Where all values are
// equal, they lie in the middle.
type Scale struct {
	Low, High, From, To float64
	// Log: each step is a power of ten. Low must be above 0.
	Log bool
}

// At is the place of a value.
func (s Scale) At(v float64) float64 {
	low, high := s.Low, s.High
	if s.Log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(max(v, low))
	}
	share := 0.5
	if high > low {
		share = min(1, max(0, (v-low)/(high-low)))
	}
	return s.From + share*(s.To-s.From)
}

// Nice is the least of 1, 2 and 5, and their multiples by powers of ten, that is no less.
func Nice(v float64) float64 {
	if v <= 1 {
		return 1
	}
	power := math.Pow10(int(math.Floor(math.Log10(v))))
	for _, step := range []float64{1, 2, 5} {
		if v <= step*power {
			return step * power
		}
	}
	return 10 * power
}
