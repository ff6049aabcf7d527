// Package v1beta1 is the API of TargetGroupController: the TargetGroupBinding
// object, and the names of the annotations, gates, finalizers and conditions
// that others meet on their objects.
//
// The fields that bind a target group to a Service bear the names they have in
// elbv2.k8s.aws/v1beta1, so that an object moves over by a change of its
// apiVersion. Fields of that kind which this controller cannot honour are
// refused by name rather than dropped: see TargetGroupBindingSpec.
//
// The package imports only k8s.io/api and k8s.io/apimachinery, so that other
// programs can use the types without taking on more.
//
// +kubebuilder:object:generate=true
// +groupName=targetgroupcontroller.io
package v1beta1
