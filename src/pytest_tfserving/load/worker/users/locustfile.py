"""Locustfile, imported and run in the same environment as by ``locust -f``."""

from __future__ import annotations

import itertools
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
import locust
from gevent.event import Event
from locust.argument_parser import get_empty_argument_parser, get_parser, setup_parser_arguments
from locust.env import Environment
from locust.runners import STATE_STOPPED, STATE_STOPPING
from locust.util.load_locustfile import load_locustfile

from pytest_tfserving.load.worker.users.exceptions import ExceptionHooks, Place, own_traceback, typed_cause_of
from pytest_tfserving.text.foreign_text import lines, one_line

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from types import TracebackType

    from locust import LoadTestShape, User
    from locust.event import EventHook
    from locust.runners import Runner

    from pytest_tfserving.load.process_plan import ProcessPlan

# Locust's options about its users' behaviour. The load profile and the target set all other options.
_TAKEN = {"LOCUST_TAGS", "LOCUST_EXCLUDE_TAGS", "LOCUST_CONFIG_USERS", "LOCUST_STOP_TIMEOUT"}

# The parent waits 3 s for the end of the master.
_END_OF_MASTER_S = 2.0
# A worker's last message, and the master's confirmation.
_LAST = "tfserving-last"
_HEARD_S = 1.0


class LocustfileError(Exception):
    """Error of a locustfile that cannot be used; ``details`` is its traceback, empty without one."""

    def __init__(self, text: str, details: str = "") -> None:
        super().__init__(one_line(text))
        self.details = lines(details)


class Locustfile:
    """Users and shape of a locustfile, and their environment.

    Attributes:
        path: the path of the locustfile.
        hooks: the hooks that get the exceptions of the locustfile's code.
        shape: the locustfile's load shape; None without one.
        options: Locust's options, parsed.
        users: the classes of the users that run.
        environment: Locust's environment.

    Raises:
        LocustfileError: if the locustfile cannot be used.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._first_error: BaseException | None = None
        self._is_heard = Event()
        self._has_quit = False
        self.hooks = ExceptionHooks(self._keep)
        sys.argv = ["locust", "--locustfile", path, "--headless"]
        users, shapes = self._imported()
        if not users:
            raise LocustfileError(f"the locustfile {path} has no user: no class derived from locust.User.")
        if len(shapes) > 1:
            names = ", ".join(type(each).__name__ for each in shapes)
            raise LocustfileError(f"the locustfile {path} has several shapes, {names}; keep one.")
        self.shape = shapes[0] if shapes else None
        self.options = self._parsed()
        self.users = self._chosen(users)
        self.environment = self._environment(users)

    def prepare(self, plan: ProcessPlan, host: str) -> None:
        """Set the load and the target of a run in the environment and its options.

        Args:
            plan: the plan of the run.
            host: the ``host`` of users.
        """
        profile, options = plan.profile, self.options
        options.host = self.environment.host = host
        options.num_users, options.spawn_rate = profile.users, profile.spawn_rate
        options.run_time = profile.run_time_s
        options.master, options.worker = plan.role == "master", plan.role == "worker"
        options.expect_workers = plan.processes

    def begin(self, runner: Runner) -> None:
        """Run the listeners of ``init``."""
        if self.options.master:
            runner.register_message(_LAST, lambda msg, **_: runner.send_message(_LAST, client_id=msg.node_id))
        if self.options.worker:
            runner.register_message(_LAST, lambda **_: self._is_heard.set())
        self.fire(self.environment.events.init.fire, runner=runner, web_ui=None, environment=self.environment)

    def fire(self, how: Callable[..., object], **more: object) -> None:
        """Call ``how``, which runs listeners; report a listener's `SystemExit` as its exception."""
        try:
            how(**more)
        except SystemExit as error:
            self.hooks.on_exception(error, Place.BLOCK, error.__traceback__)

    def end(self) -> None:
        """Run the listeners of ``quitting`` and ``quit``, after the users are stopped."""
        events, environment = self.environment.events, self.environment
        if self.options.worker:
            self._tell_master(environment.runner)
        _forget_runner(events.quitting)
        try:
            events.quitting.fire(environment=environment, reverse=True)
        except SystemExit as error:
            environment.process_exit_code = error.code
        self.fire(events.quit.fire, exit_code=environment.process_exit_code or 0)
        self._has_quit = True

    def end_leading(self) -> None:
        """Run the listeners of a master's end; do not stop the workers, which end by themselves."""
        events, environment = self.environment.events, self.environment
        with gevent.Timeout(_END_OF_MASTER_S, False):
            if environment.runner.state not in (STATE_STOPPING, STATE_STOPPED):
                self.fire(events.test_stopping.fire, environment=environment)
                self.fire(events.test_stop.fire, environment=environment)
            self.end()

    @property
    def exit_fault(self) -> str:
        """Reason why the listeners of the end fail the run; empty without one.

        A worker's exit code does not count.
        """
        if not self._has_quit:
            return f"the listeners of quitting and quit in the locustfile {self.path} took too long"
        code = 0 if self.options.worker else self.environment.process_exit_code
        return f"the locustfile {self.path} set environment.process_exit_code to {code}" if code else ""

    def _tell_master(self, runner: Runner) -> None:
        """Send the last statistics as Locust's workers do, and wait until the master has confirmed them."""
        runner._send_stats()  # noqa: SLF001 - no other way
        runner.send_message(_LAST)
        self._is_heard.wait(_HEARD_S)

    def _keep(self, error: BaseException, _: Place, __: TracebackType | None) -> None:
        self._first_error = self._first_error or error

    def _imported(self) -> tuple[dict[str, type[User]], list[LoadTestShape]]:
        try:
            users, shapes = load_locustfile(self.path)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises, SystemExit too
            last = traceback.format_exception_only(error)[-1].strip()
            text = f"the locustfile {self.path} cannot be imported: {last}"
            raise LocustfileError(text, own_traceback(error, error.__traceback__)) from None
        return users, shapes

    def _parsed(self) -> Namespace:
        """Return Locust's options, with those added by listeners of ``init_command_line_parser``, parsed."""
        parser = get_parser()
        if error := self._first_error:
            text = f"the locustfile {self.path} cannot add its options: {typed_cause_of(error)}"
            raise LocustfileError(text, own_traceback(error, error.__traceback__))
        parser.error = self._refuse_options
        given = {name: value for name, value in os.environ.items() if name not in _ruled()}
        options: Namespace = parser.parse_args(["--locustfile", self.path, "--headless"], env_vars=given)
        return options

    def _refuse_options(self, message: str) -> None:
        raise LocustfileError(
            f"the options of the locustfile {self.path} do not parse: {message}; they are given by "
            "environment variables, or in locust.conf or pyproject.toml."
        )

    def _chosen(self, users: dict[str, type[User]]) -> list[type[User]]:
        """Return the users that LOCUST_USER_CLASSES names, else all users."""
        names = self.options.user_classes or list(users)
        if missing := [name for name in names if name not in users]:
            raise LocustfileError(
                f"LOCUST_USER_CLASSES names {', '.join(missing)}, which the locustfile {self.path} lacks; "
                f"it has {', '.join(users)}."
            )
        return [users[name] for name in names]

    def _environment(self, users: dict[str, type[User]]) -> Environment:
        options, shape = self.options, self.shape
        try:
            environment = Environment(
                user_classes=list(self.users),
                shape_class=shape,
                events=locust.events,
                locustfile=Path(self.path).name,
                parsed_locustfiles=[self.path],
                parsed_options=options,
                available_user_classes=users,
                available_shape_classes={type(shape).__name__: shape} if shape else {},
                available_user_tasks={name: user.tasks for name, user in users.items()},
            )
            for settings in itertools.chain(*(getattr(options, "config_users", None) or [])):
                environment.update_user_class(settings)
        except KeyError as error:
            raise LocustfileError(f"LOCUST_CONFIG_USERS: {self.path} has no user {error}.") from None
        except ValueError as error:
            text = f"the locustfile {self.path} cannot be used: {typed_cause_of(error)}"
            raise LocustfileError(text) from None
        if options.equal_weights:
            environment.assign_equal_weights()
        return environment


def _ruled() -> set[str]:
    """Return the environment variables of Locust's options that the load profile or the target sets."""
    parser = get_empty_argument_parser(add_help=False)
    setup_parser_arguments(parser)
    actions = parser._actions  # noqa: SLF001 - no other way
    return {action.env_var for action in actions if getattr(action, "env_var", None)} - _TAKEN


def _forget_runner(hook: EventHook) -> None:
    """Remove Locust's own listeners: at a worker's ``quitting`` they give its users to other workers."""
    for listener in list(hook._handlers):  # noqa: SLF001 - no other way
        if getattr(listener, "__module__", "") == "locust.runners":
            hook.remove_listener(listener)
