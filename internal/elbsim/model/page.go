package model

import "slices"

// Page selects a part of a list.
type Page struct {
	Marker string // where the previous page ended; empty at first
	Size   int    // 1 to 400; 0: 400
}

// maxPage is the largest page, and the size where none is given.
const maxPage = 400

// cut takes one page of a list whose items are named by id. A marker whose item
// was deleted meanwhile is refused, as is one that never was.
func cut[T any](list []T, page Page, id func(T) string) (items []T, next string, err error) {
	if page.Size < 0 || page.Size > maxPage {
		return nil, "", invalid("Page size '%d' must be between 1 and %d inclusive", page.Size, maxPage)
	}
	if page.Size == 0 {
		page.Size = maxPage
	}
	if page.Marker != "" {
		i := slices.IndexFunc(list, func(item T) bool { return id(item) == page.Marker })
		if i < 0 {
			return nil, "", invalid("The marker '%s' is not valid", page.Marker)
		}
		list = list[i+1:]
	}
	if len(list) <= page.Size {
		return list, "", nil
	}
	list = list[:page.Size]
	return list, id(list[page.Size-1]), nil
}
