/** Where a WebGPU adapter comes from on a machine that has none: what to install, or what to tell the user. */

/** What the advice depends on. */
export interface System {
  readonly os: string;
  /** ID and ID_LIKE of /etc/os-release; empty elsewhere. */
  readonly families: readonly string[];
  readonly root: boolean;
  /** Linux inside Windows. */
  readonly wsl: boolean;
}

/** `commands`: what this program may run itself. `advice`: one or two lines for a person. */
export type DriverPlan =
  | { readonly kind: "install"; readonly commands: readonly (readonly string[])[] }
  | { readonly kind: "advise"; readonly advice: string };

const DEBIAN_PACKAGES = ["libvulkan1", "mesa-vulkan-drivers"];

/** Families of Linux by their package manager's exact command. */
const COMMANDS: Readonly<Record<string, string>> = {
  debian: `apt-get update && apt-get install -y ${DEBIAN_PACKAGES.join(" ")}`,
  ubuntu: `apt-get update && apt-get install -y ${DEBIAN_PACKAGES.join(" ")}`,
  fedora: "dnf install -y vulkan-loader mesa-vulkan-drivers",
  rhel: "dnf install -y vulkan-loader mesa-vulkan-drivers",
  arch: "pacman -S --needed --noconfirm vulkan-icd-loader vulkan-swrast",
  alpine: "apk add vulkan-loader mesa-vulkan-swrast",
  suse: "zypper install -y libvulkan1 Mesa-vulkan-drivers libvulkan_lvp",
};

export function driverPlan(system: System): DriverPlan {
  if (system.os === "darwin") {
    return advise(
      "macOS offers Metal to every process: update to macOS 13 or later, and run outside of a virtual machine",
    );
  }
  if (system.os === "windows") {
    return advise(
      "install the graphics driver of your card's maker; without a card, run under WSL 2: wsl --install -d Debian",
    );
  }
  const family = system.families.find((name) => name in COMMANDS);
  if (family === undefined) {
    return advise("install a Vulkan loader and Mesa's software driver (lavapipe) with your package manager");
  }
  if (system.root && (family === "debian" || family === "ubuntu")) {
    return {
      kind: "install",
      commands: [
        ["apt-get", "update"],
        ["apt-get", "install", "-y", "--no-install-recommends", ...DEBIAN_PACKAGES],
      ],
    };
  }
  const command = system.root
    ? COMMANDS[family]
    : COMMANDS[family].split(" && ").map((part) => `sudo ${part}`).join(" && ");
  return advise(`run: ${command}${system.wsl ? "\n(inside this Linux, not in Windows)" : ""}`);
}

function advise(advice: string): DriverPlan {
  return { kind: "advise", advice };
}

/** The machine that this process runs on. */
export function thisSystem(): System {
  const os = Deno.build.os;
  return {
    os,
    families: os === "linux" ? familiesOf(readOptional("/etc/os-release")) : [],
    root: os !== "windows" && Deno.uid() === 0,
    wsl: os === "linux" && /microsoft/i.test(readOptional("/proc/version")),
  };
}

/** ID first, then ID_LIKE, as os-release(5) means them. */
export function familiesOf(osRelease: string): string[] {
  const field = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(osRelease)?.[1] ?? "";
  return `${field("ID")} ${field("ID_LIKE")}`.split(/\s+/).filter((word) => word !== "");
}

function readOptional(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
