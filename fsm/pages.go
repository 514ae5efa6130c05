package fsm

const (
	// nearPages is how many of a job's first pages stand in one list, those of 65,536 tasks: more than
	// most jobs have.
	nearPages = 256
	// leafPages is how many of the others share a leaf, 2 KiB.
	leafPages = 256
)

// pageLeaf is neighbouring pages. done counts those that are done.
type pageLeaf struct {
	pages [leafPages]*page
	done  int
}

// doneLeaf stands for every leaf whose pages are all done.
var doneLeaf = func() *pageLeaf {
	l := &pageLeaf{done: leafPages}
	for i := range l.pages {
		l.pages[i] = donePage
	}
	return l
}()

// page returns a page; nil where none of its tasks was ever touched. A job of ten million tasks
// takes a few bytes to submit, and no page. Who touches its last task, which takes as few, makes the
// servers keep that page, not a place for each of the forty thousand before it.
func (j *job) page(n uint32) *page {
	if int(n) < len(j.pages) {
		return j.pages[n]
	}
	return j.farPage(n)
}

func (j *job) farPage(n uint32) *page {
	if n < nearPages || j.rare == nil {
		return nil
	}
	n -= nearPages
	if leaves := j.rare.far; int(n/leafPages) < len(leaves) && leaves[n/leafPages] != nil {
		return leaves[n/leafPages].pages[n%leafPages]
	}
	return nil
}

// setPage puts a page in its place. Nothing takes the place of one that is done.
func (j *job) setPage(n uint32, p *page) {
	if n < nearPages {
		j.pages = reach(j.pages, n)
		j.pages[n] = p
		return
	}
	n -= nearPages
	if j.rare == nil {
		j.rare = &rare{}
	}
	j.rare.far = reach(j.rare.far, n/leafPages)
	leaf := &j.rare.far[n/leafPages]
	if *leaf == nil {
		*leaf = &pageLeaf{}
	}
	(*leaf).pages[n%leafPages] = p
	if p != donePage {
		return
	}
	if (*leaf).done++; (*leaf).done == leafPages {
		*leaf = doneLeaf
	}
}

// reach makes a list long enough to have a place n.
func reach[T any](list []*T, n uint32) []*T {
	if missing := int(n) + 1 - len(list); missing > 0 {
		return append(list, make([]*T, missing)...)
	}
	return list
}
