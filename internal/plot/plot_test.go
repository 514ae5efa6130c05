package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func drawn() *Drawing {
	d := &Drawing{Width: 100, Height: 50.25}
	d.Text("title", Point{1, 2.04}, End, `<&> "co"`)
	d.Text("", Point{}, Start, "plain")
	d.Rect("bar", Box{X: 1, Y: 2, W: 3.14159, H: 4, Radius: 2}, "about <it>")
	d.Rect("bar", Box{W: 1, H: 1}, "")
	d.Line("grid", Point{0, 1}, Point{2, 3})
	d.Circle("ok", Point{1, 1}, 1.6)
	d.Curve("rate", []Point{{0, 1}, {2.55, 3}})
	d.Cross("exit", Point{10, 20}, 8, "it ended")
	return d
}

func elements(t *testing.T, text string) (names []string) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader([]byte(text))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return names
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok {
			names = append(names, start.Name.Local)
		}
	}
}

func TestADrawingIsWellFormed(t *testing.T) {
	t.Parallel()
	shapes := []string{"text", "text", "rect", "title", "rect", "line", "circle", "polyline", "path", "title"}
	var out bytes.Buffer
	require.NoError(t, drawn().Document(&out, ".bar { fill: red }\n"))
	require.Equal(t, append([]string{"svg", "style"}, shapes...), elements(t, out.String()))
	require.Contains(t, out.String(), `viewBox="0 0 100 50.2" width="100" height="50.2"`)
	require.Contains(t, out.String(), `<text class="title" x="1" y="2" text-anchor="end">&lt;&amp;&gt; &#34;co&#34;</text>`)
	require.Contains(t, out.String(), `<rect class="bar" x="1" y="2" width="3.1" height="4" rx="2"><title>about &lt;it&gt;</title></rect>`)
	require.Contains(t, out.String(), `<polyline class="rate" points="0,1 2.5,3"/>`)
	require.Contains(t, out.String(), `<path class="exit" d="M6 16l8 8m0 -8l-8 8">`)

	page := drawn().Inline(`calls "over" time`)
	require.Equal(t, append([]string{"svg"}, shapes...), elements(t, page))
	require.NotContains(t, page, "http", "a page needs nothing from elsewhere")
}

func TestScales(t *testing.T) {
	t.Parallel()
	linear := Scale{Low: 0, High: 10, From: 100, To: 0}
	for v, want := range map[float64]float64{-1: 100, 0: 100, 2.5: 75, 10: 0, 11: 0} {
		require.InDelta(t, want, linear.At(v), 1e-9, v)
	}
	log := Scale{Low: 0.1, High: 1000, From: 0, To: 8, Log: true}
	for v, want := range map[float64]float64{-1: 0, 0: 0, 0.1: 0, 1: 2, 10: 4, 1000: 8, 1e9: 8} {
		require.InDelta(t, want, log.At(v), 1e-9, v)
	}
	require.InDelta(t, 50, Scale{Low: 3, High: 3, From: 0, To: 100}.At(3), 1e-9)
	require.InDelta(t, 50, Scale{Low: 3, High: 3, From: 0, To: 100, Log: true}.At(3), 1e-9)
}

func TestScalesHaveRoundNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]float64{0: 1, 0.3: 1, 1: 1, 1.5: 2, 37: 50, 51: 100, 600: 1000} {
		require.InDelta(t, want, Nice(v), 1e-9, v)
	}
}
