package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PodInjectionName is the name of the only PodInjection of a namespace.
const PodInjectionName = "targetgroupcontroller"

// PodInjections is the plural under which the API server serves PodInjections.
const PodInjections = "podinjections"

// PodInjection is what the bindings of a namespace put into its new pods, gathered
// from their status for the MutatingAdmissionPolicy in config/policy: the API
// server would evaluate a policy once for each binding, and takes one object for
// all as easily as for one. The controller keeps it, and nobody else writes it;
// what a binding puts into pods is better read in the binding's own status.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=podinjections,singular=podinjection
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'targetgroupcontroller'",message="only one PodInjection of a namespace has a meaning, and its name is targetgroupcontroller"
type PodInjection struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// byLabel holds the bindings that put something into pods, each under one
	// label of its selector, in the form key=value: so that those of a pod are
	// found by the pod's labels, however many there are. One whose selector takes
	// any of several values of a label is there under each of them, and those
	// whose selectors ask for no value of any label are under "=", where all pods
	// look.
	// +optional
	ByLabel map[string]BindingInjections `json:"byLabel,omitempty"`
}

// BindingInjections are what several bindings put into new pods, ordered by the
// names of the bindings.
//
// +listType=atomic
type BindingInjections []BindingInjection

// PodInjectionList is a list of PodInjections.
//
// +kubebuilder:object:root=true
type PodInjectionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PodInjection `json:"items"`
}

// BindingInjection is what one binding puts into new pods, as its status has it.
type BindingInjection struct {
	// name is the name of the TargetGroupBinding.
	// +required
	Name string `json:"name"`

	// podSelector chooses the pods by their labels, together with podExpressions.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	PodSelector map[string]string `json:"podSelector,omitempty"`

	// podExpressions are what else the labels of the pods must satisfy.
	// +optional
	// +listType=atomic
	PodExpressions []metav1.LabelSelectorRequirement `json:"podExpressions,omitempty"`

	// readinessGate is the conditionType of the readiness gate.
	// +optional
	ReadinessGate string `json:"readinessGate,omitempty"`

	// drain is what pods get for their end.
	// +optional
	Drain *DrainStatus `json:"drain,omitempty"`
}
