// Package atomicfile replaces and makes files so that a crash leaves the old one or the new one, never a part.
//
// # Flow
//
// Write puts the new content into a temporary file beside the old one, syncs it, renames it into place and
// syncs the folder. Create does the same for a file that must not exist yet. Rename is the second half, for files that others write, such as a database: the caller has
// synced the file.
//
// # Trade-offs
//
// Each write costs two syncs: that of the file, so that the name never leads to half a file, and that of the
// folder, so that the rename is still there after a power loss. Files that may be lost do not need this package.
package atomicfile
