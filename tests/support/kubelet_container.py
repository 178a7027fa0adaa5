"""A container as a kubelet and the API server name it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_tfserving.targets.kubernetes.objects import ContainerStatus, Pod

CONTAINER_ID = "2acd7b77658ad0b78a0c5a2fe9fd0288c7cc54e2c43b2ce9c23bb11b7d087269"
# One kubelet knows a cgroup's Pod, another does not; systemd's names of cgroups are longer.
PATHS = (
    f'container="",id="/k8s.io/{CONTAINER_ID}",image="",name="",namespace="",pod=""',
    f'container="serving",id="/kubepods.slice/kubepods-pod1.slice/cri-containerd-{CONTAINER_ID}.scope",'
    f'image="x",name="{CONTAINER_ID}",namespace="n",pod="tfserving-x"',
)


def pod(container_id: str, restarts: int = 0) -> Pod:
    status: ContainerStatus = {"name": "serving", "containerID": container_id, "restartCount": restarts}
    return {"metadata": {"name": "tfserving-x"}, "status": {"containerStatuses": [status]}}
