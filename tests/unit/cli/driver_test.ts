import assert from "node:assert/strict";
import { driverPlan, familiesOf, type System } from "../../../lib/cli/driver.ts";

const DEBIAN: System = { os: "linux", families: ["debian"], root: true, wsl: false };

Deno.test("driverPlan installs the software driver as root on Debian and what is like it", () => {
  for (const families of [["debian"], ["ubuntu", "debian"], ["raspbian", "debian"]]) {
    const plan = driverPlan({ ...DEBIAN, families });
    assert(plan.kind === "install");
    assert(plan.commands.at(-1)!.includes("mesa-vulkan-drivers"));
    assert.equal(plan.commands[0].join(" "), "apt-get update");
  }
});

Deno.test("driverPlan gives other users and systems their exact command", () => {
  const advice = (system: Partial<System>) => {
    const plan = driverPlan({ ...DEBIAN, ...system });
    assert(plan.kind === "advise");
    return plan.advice;
  };
  assert.equal(
    advice({ root: false }),
    "run: sudo apt-get update && sudo apt-get install -y libvulkan1 mesa-vulkan-drivers",
  );
  assert.equal(advice({ families: ["fedora"] }), "run: dnf install -y vulkan-loader mesa-vulkan-drivers");
  assert.match(advice({ families: ["arch"], root: false }), /^run: sudo pacman -S .*vulkan-swrast$/);
  assert.match(advice({ families: ["alpine"] }), /^run: apk add .*mesa-vulkan-swrast$/);
  assert.match(advice({ families: ["manjaro", "arch"] }), /pacman/);
  assert.match(advice({ root: false, wsl: true }), /inside this Linux/);
  assert.match(advice({ families: ["slackware"] }), /lavapipe/);
  assert.match(advice({ os: "darwin", families: [] }), /macOS/);
  assert.match(advice({ os: "windows", families: [] }), /WSL 2/);
});

Deno.test("familiesOf reads ID before ID_LIKE, quoted or not", () => {
  assert.deepEqual(familiesOf('NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n'), [
    "ubuntu",
    "debian",
  ]);
  assert.deepEqual(familiesOf('ID="rocky"\nID_LIKE="rhel centos fedora"\n'), [
    "rocky",
    "rhel",
    "centos",
    "fedora",
  ]);
  assert.deepEqual(familiesOf(""), []);
});
