package elbsim

import (
	"maps"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

type pairXML struct{ Key, Value string }

func pairs(values map[string]string) list[pairXML] {
	return listOf(slices.Sorted(maps.Keys(values)), func(key string) pairXML { return pairXML{key, values[key]} })
}

// pairsIn reads a list of keys and values.
func pairsIn(f form, name string) map[string]string {
	values := map[string]string{}
	for _, member := range f.members(name) {
		values[member.required("Key")] = member.text("Value")
	}
	return values
}

func tagsIn(f form) map[string]string { return pairsIn(f, "Tags") }

type attributesAnswer struct {
	Attributes list[pairXML]
}

func describeTargetGroupAttributes(f form, w *model.World, now time.Time) (any, error) {
	arn := f.required("TargetGroupArn")
	if f.err() != nil {
		return nil, f.err()
	}
	attributes, err := w.GroupAttributes(now, arn)
	return attributesAnswer{pairs(attributes)}, err
}

func modifyTargetGroupAttributes(f form, w *model.World, now time.Time) (any, error) {
	arn, changes := f.required("TargetGroupArn"), pairsIn(f, "Attributes")
	if f.err() != nil {
		return nil, f.err()
	}
	if err := w.ModifyGroupAttributes(now, arn, changes); err != nil {
		return nil, err
	}
	return describeTargetGroupAttributes(f, w, now)
}

func addTags(f form, w *model.World, now time.Time) (any, error) {
	arns, tags := f.list("ResourceArns"), tagsIn(f)
	if f.err() != nil {
		return nil, f.err()
	}
	return nothing{}, w.AddTags(now, arns, tags)
}

func removeTags(f form, w *model.World, now time.Time) (any, error) {
	arns, keys := f.list("ResourceArns"), f.list("TagKeys")
	if f.err() != nil {
		return nil, f.err()
	}
	return nothing{}, w.RemoveTags(now, arns, keys)
}

type tagsAnswer struct {
	TagDescriptions list[resourceTagsXML]
}

type resourceTagsXML struct {
	ResourceArn string
	Tags        list[pairXML]
}

func describeTags(f form, w *model.World, now time.Time) (any, error) {
	arns := f.list("ResourceArns")
	if f.err() != nil {
		return nil, f.err()
	}
	tags, err := w.Tags(now, arns)
	var answer tagsAnswer
	for i, of := range tags {
		answer.TagDescriptions.Members = append(answer.TagDescriptions.Members, resourceTagsXML{arns[i], pairs(of)})
	}
	return answer, err
}
