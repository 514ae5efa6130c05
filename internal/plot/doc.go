// Package plot draws charts as SVG, for the reports of benchmarks and of chaos runs.
//
// # Flow
//
// A Drawing gathers shapes and texts in the order in which they lie on each other. Document writes it as a file of
// its own, Inline as an element of an HTML page. A Scale says where a value lies; Nice chooses where a scale
// ends.
//
// # Trade-offs
//
// What a chart shows is up to its report: there are no axes or legends here. Colours and fonts come from the style
// of the file or page, by class, so a chart follows the reader's choice of a light or a dark page. A library for
// charts would bring more code than these reports have.
package plot
