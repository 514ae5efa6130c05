// Package program builds the program that the end-to-end tests run, for each of their
// packages in the same way.
package program
