"""Types of a cluster's objects, with the keys that this package reads or writes.

A cluster can leave out any key, so no key is required.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    from pytest_tfserving.text.json_value import JsonObject

ProbeName: TypeAlias = Literal["startupProbe", "readinessProbe", "livenessProbe"]


# --- all objects ---


class OwnerReference(TypedDict, total=False):
    """Reference to the owner of an object."""

    kind: str


class Metadata(TypedDict, total=False):
    """Metadata of an object."""

    name: str
    namespace: str
    uid: str
    generation: int
    resourceVersion: str
    creationTimestamp: str
    deletionTimestamp: str
    labels: dict[str, str]
    annotations: dict[str, str]
    ownerReferences: list[OwnerReference]


class WithMetadata(TypedDict, total=False):
    """An object, or the template of a Pod."""

    metadata: Metadata


class KubernetesObject(WithMetadata, total=False):
    """An object of any kind, as a cluster has it or as a manifest."""

    apiVersion: str
    kind: str


class Condition(TypedDict, total=False):
    """A condition in the status of an object."""

    type: str
    status: str
    reason: str
    message: str


class ApiResource(TypedDict, total=False):
    """A kind of objects in the API."""

    kind: str
    name: str
    namespaced: bool


class ConfigMap(KubernetesObject, total=False):
    """A ConfigMap."""

    data: dict[str, str]


# --- Pods ---


class HttpGet(TypedDict, total=False):
    """The request of a probe."""

    path: str


class Probe(TypedDict, total=False):
    """A probe of a container."""

    httpGet: HttpGet
    failureThreshold: int


class EnvironmentVariable(TypedDict, total=False):
    """An environment variable of a container."""

    name: str
    value: str


class ContainerResources(TypedDict, total=False):
    """Requests and limits of a container, as quantities by resource."""

    requests: dict[str, str]
    limits: dict[str, str]


class VolumeMount(TypedDict, total=False):
    """The place of a volume in a container."""

    name: str
    mountPath: str


class Container(TypedDict, total=False):
    """A container of a Pod."""

    name: str
    image: str
    imagePullPolicy: str
    command: list[str]
    args: list[str]
    env: list[EnvironmentVariable]
    stdin: bool
    resources: ContainerResources
    securityContext: JsonObject
    startupProbe: Probe
    readinessProbe: Probe
    livenessProbe: Probe
    volumeMounts: list[VolumeMount]


class PodSpec(TypedDict, total=False):
    """The specification of a Pod."""

    nodeName: str
    nodeSelector: dict[str, str]
    tolerations: list[dict[str, str]]
    affinity: JsonObject
    overhead: dict[str, str]
    resources: ContainerResources
    initContainers: list[Container]
    containers: list[Container]
    volumes: list[JsonObject]
    restartPolicy: str
    terminationGracePeriodSeconds: int
    automountServiceAccountToken: bool
    enableServiceLinks: bool
    securityContext: JsonObject


class PodTemplate(WithMetadata, total=False):
    """The template of the Pods of a Deployment or a Job."""

    spec: PodSpec


class WaitingState(TypedDict, total=False):
    """The state of a container that waits for its start."""

    reason: str
    message: str


class TerminatedState(TypedDict, total=False):
    """The state of a container that has ended."""

    exitCode: int
    reason: str
    message: str


class ContainerState(TypedDict, total=False):
    """The state of a container; one of the keys is there."""

    waiting: WaitingState
    running: JsonObject
    terminated: TerminatedState


class ContainerStatus(TypedDict, total=False):
    """The status of a container."""

    name: str
    image: str
    imageID: str
    containerID: str
    restartCount: int
    state: ContainerState
    lastState: ContainerState


class PodStatus(TypedDict, total=False):
    """The status of a Pod."""

    phase: str
    reason: str
    message: str
    podIP: str
    nominatedNodeName: str
    conditions: list[Condition]
    initContainerStatuses: list[ContainerStatus]
    containerStatuses: list[ContainerStatus]


class Pod(KubernetesObject, total=False):
    """A Pod."""

    spec: PodSpec
    status: PodStatus


# --- makers of Pods ---


class WorkloadStatus(TypedDict, total=False):
    """The status of a Deployment or a ReplicaSet."""

    observedGeneration: int
    conditions: list[Condition]


class DeploymentSpec(TypedDict, total=False):
    """The specification of a Deployment."""

    replicas: int
    template: PodTemplate


class DeploymentObject(KubernetesObject, total=False):
    """A Deployment of Kubernetes."""

    spec: DeploymentSpec
    status: WorkloadStatus


class ReplicaSet(KubernetesObject, total=False):
    """A ReplicaSet."""

    status: WorkloadStatus


class JobSpec(TypedDict, total=False):
    """The specification of a Job."""

    parallelism: int
    completions: int
    completionMode: str
    backoffLimit: int
    activeDeadlineSeconds: int
    template: PodTemplate


class Job(KubernetesObject, total=False):
    """A Job."""

    spec: JobSpec


# --- Services ---


class ServicePort(TypedDict, total=False):
    """A port of a Service."""

    name: str
    protocol: str
    port: int
    targetPort: int
    nodePort: int


class ServiceSpec(TypedDict, total=False):
    """The specification of a Service."""

    type: str
    selector: dict[str, str]
    clusterIP: str
    ports: list[ServicePort]
    publishNotReadyAddresses: bool


class Ingress(TypedDict, total=False):
    """An address of a load balancer."""

    ip: str
    hostname: str


class LoadBalancer(TypedDict, total=False):
    """The load balancer of a Service."""

    ingress: list[Ingress]


class ServiceStatus(TypedDict, total=False):
    """The status of a Service."""

    loadBalancer: LoadBalancer


class Service(KubernetesObject, total=False):
    """A Service."""

    spec: ServiceSpec
    status: ServiceStatus


# --- nodes, events, Leases ---


class Taint(TypedDict, total=False):
    """A taint of a node."""

    key: str
    value: str
    effect: str


class NodeSpec(TypedDict, total=False):
    """The specification of a node."""

    taints: list[Taint]
    unschedulable: bool


class NodeAddress(TypedDict, total=False):
    """An address of a node."""

    type: str
    address: str


class NodeStatus(TypedDict, total=False):
    """The status of a node."""

    conditions: list[Condition]
    capacity: dict[str, str]
    allocatable: dict[str, str]
    addresses: list[NodeAddress]


class Node(KubernetesObject, total=False):
    """A node."""

    spec: NodeSpec
    status: NodeStatus


class ObjectReference(TypedDict, total=False):
    """Reference to the object that an event is about."""

    kind: str
    name: str
    uid: str


class EventSeries(TypedDict, total=False):
    """The occurrences of a repeated event of the newer events API, which leaves ``count`` out."""

    count: int
    lastObservedTime: str


class Event(KubernetesObject, total=False):
    """An event."""

    type: str
    reason: str
    message: str
    count: int
    series: EventSeries | None
    lastTimestamp: str
    eventTime: str
    involvedObject: ObjectReference


class LeaseSpec(TypedDict, total=False):
    """The specification of a Lease."""

    holderIdentity: str
    leaseDurationSeconds: int
    acquireTime: str
    renewTime: str


class Lease(KubernetesObject, total=False):
    """A Lease."""

    spec: LeaseSpec


# --- permissions ---


class Rule(TypedDict, total=False):
    """A rule of a role."""

    apiGroups: list[str]
    resources: list[str]
    verbs: list[str]


class Role(KubernetesObject, total=False):
    """A Role or a ClusterRole."""

    rules: list[Rule]


class Binding(KubernetesObject, total=False):
    """A RoleBinding or a ClusterRoleBinding."""

    roleRef: dict[str, str]
    subjects: list[dict[str, str]]


class ResourceAttributes(TypedDict, total=False):
    """The permission that an access review asks for."""

    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str


class AccessReviewSpec(TypedDict, total=False):
    """The question of an access review."""

    resourceAttributes: ResourceAttributes


class AccessReviewStatus(TypedDict, total=False):
    """The answer to an access review."""

    allowed: bool


class AccessReview(KubernetesObject, total=False):
    """A SelfSubjectAccessReview: whether the user has a permission."""

    spec: AccessReviewSpec
    status: AccessReviewStatus


class UserInfo(TypedDict, total=False):
    """The name and the groups of a user, as a cluster knows them."""

    username: str


class UserReviewStatus(TypedDict, total=False):
    """The answer to a review of a user."""

    userInfo: UserInfo


class UserReview(KubernetesObject, total=False):
    """A SelfSubjectReview: who the user is."""

    status: UserReviewStatus


# --- statistics of a kubelet ---


class CpuStatistics(TypedDict, total=False):
    """CPU time of a container."""

    usageCoreNanoSeconds: int


class MemoryStatistics(TypedDict, total=False):
    """Memory of a container."""

    rssBytes: int
    majorPageFaults: int


class ContainerStatistics(TypedDict, total=False):
    """Statistics of a container."""

    name: str
    cpu: CpuStatistics
    memory: MemoryStatistics


class PodReference(TypedDict, total=False):
    """Reference to a Pod."""

    uid: str


class PodStatistics(TypedDict, total=False):
    """Statistics of a Pod."""

    podRef: PodReference
    containers: list[ContainerStatistics]


class StatisticsSummary(TypedDict, total=False):
    """The answer of a kubelet to ``stats/summary``."""

    pods: list[PodStatistics]
