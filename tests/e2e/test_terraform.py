"""Terraform's AWS provider: apply, an empty plan, a new revision, destroy.

Skips where Terraform or its provider is not on the machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.instance import Instance

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PLUGIN_TREES = ("/opt", "/usr/share/terraform", "/usr/local/share/terraform", "~/.terraform.d")

CONFIGURATION = """
terraform {{
  required_providers {{
    aws = {{ source = "hashicorp/aws" }}
  }}
}}
provider "aws" {{
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  endpoints {{ ecs = "{endpoint}" }}
}}
variable "seconds" {{ default = "3600" }}
resource "aws_ecs_cluster" "main" {{
  name = "terraform"
  tags = {{ made-by = "terraform" }}
}}
resource "aws_ecs_task_definition" "sleeper" {{
  family                = "terraform-sleeper"
  container_definitions = jsonencode([{{
    name = "main", image = "busybox", command = ["sleep", var.seconds], memory = 64, essential = true, stopTimeout = 2
  }}])
}}
resource "aws_ecs_service" "sleeper" {{
  name                  = "sleeper"
  cluster               = aws_ecs_cluster.main.id
  task_definition       = aws_ecs_task_definition.sleeper.arn
  desired_count         = 2
  wait_for_steady_state = true
}}
"""


def provider_tree() -> Path | None:
    """The root of a filesystem mirror that holds hashicorp/aws."""
    for tree in PLUGIN_TREES:
        for provider in (
            Path(tree).expanduser().glob("**/registry.terraform.io/hashicorp/aws/*/*/terraform-provider-aws*")
        ):
            return provider.parents[5]
    return None


@pytest.fixture
def terraform(instance: Instance, tmp_path: Path) -> Terraform:
    binary, mirror = shutil.which("terraform"), provider_tree()
    if binary is None or mirror is None:
        pytest.skip("no terraform, or no hashicorp/aws provider in a plugin folder of this machine")
    (tmp_path / "main.tf").write_text(CONFIGURATION.format(endpoint=instance.endpoint))
    settings = tmp_path / "terraform.rc"
    settings.write_text(f'provider_installation {{ filesystem_mirror {{ path = "{mirror}" }} }}\n')
    return Terraform(binary, tmp_path, settings)


class Terraform:
    """The terraform command in a folder of its own."""

    def __init__(self, binary: str, folder: Path, settings: Path) -> None:
        self.binary = binary
        self.folder = folder
        self.environment = os.environ | {"TF_CLI_CONFIG_FILE": str(settings), "CHECKPOINT_DISABLE": "1"}

    def run(self, *arguments: str, expect: int = 0) -> str:
        command = [self.binary, *arguments, "-no-color"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == expect, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def test_terraform_applies_plans_nothing_more_updates_and_destroys(instance: Instance, terraform: Terraform) -> None:
    terraform.run("init")
    terraform.run("apply", "-auto-approve")
    service = instance.ecs().describe_services(cluster="terraform", services=["sleeper"])["services"][0]
    assert (service["runningCount"], service["status"]) == (2, "ACTIVE")
    terraform.run("plan", "-detailed-exitcode")

    terraform.run("apply", "-auto-approve", "-var", "seconds=7200")
    service = instance.ecs().describe_services(cluster="terraform", services=["sleeper"])["services"][0]
    assert service["taskDefinition"].endswith("terraform-sleeper:2")
    terraform.run("plan", "-detailed-exitcode", "-var", "seconds=7200")

    terraform.run("destroy", "-auto-approve", "-var", "seconds=7200")
    assert instance.ecs().describe_clusters(clusters=["terraform"])["clusters"][0]["status"] == "INACTIVE"
