package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of this package.
const GroupName = "targetgroupcontroller.io"

// GroupVersion is the API group and version of this package.
var GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1beta1"}

// Resource is the plural under which the API server serves bindings.
const Resource = "targetgroupbindings"

// AddToScheme makes the types of this package known to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &TargetGroupBinding{}, &TargetGroupBindingList{}, &PodInjection{}, &PodInjectionList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
