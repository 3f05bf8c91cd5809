/** Which network addresses a server must not be talked into visiting. */

/** True for an IPv4 or IPv6 address outside the public internet (RFC 6890), and for anything that is no address. */
export function isPrivateAddress(address: string): boolean {
  const v4 = parseIpv4(address);
  if (v4) return isPrivateIpv4(v4);
  const v6 = parseIpv6(address);
  return v6 === null || isPrivateIpv6(v6);
}

/** True if `host` is an IPv4 address or an IPv6 address, in brackets or not. */
export function isAddressLiteral(host: string): boolean {
  return parseIpv4(host) !== null || parseIpv6(host) !== null;
}

function parseIpv4(text: string): readonly number[] | null {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return null;
  const parts = text.split(".").map(Number);
  return parts.every((part) => part <= 255) ? parts : null;
}

/** Eight 16-bit groups. A zone (`%eth0`) is dropped. */
function parseIpv6(text: string): readonly number[] | null {
  const bare = text.replace(/^\[(.*)\]$/, "$1").replace(/%.*$/, "");
  if (!bare.includes(":")) return null;
  try {
    // The URL parser knows every spelling and writes hexadecimal groups with at most one "::".
    const [head, tail] = new URL(`http://[${bare}]/`).hostname.slice(1, -1).split("::");
    const groups = (part: string | undefined) =>
      part ? part.split(":").map((group) => parseInt(group, 16)) : [];
    const before = groups(head);
    const after = groups(tail);
    return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
  } catch {
    return null;
  }
}

function isPrivateIpv4([a, b, c]: readonly number[]): boolean {
  return a === 0 || a === 10 || a === 127 || a >= 224 || // this host, private, loopback, multicast and reserved
    (a === 100 && b >= 64 && b <= 127) || // carrier-grade translation
    (a === 169 && b === 254) || // link-local, the clouds' metadata services among them
    (a === 172 && b >= 16 && b <= 31) || (a === 192 && b === 168) || // private
    (a === 192 && b === 0 && (c === 0 || c === 2)) || // protocol assignments, documentation
    (a === 198 && (b === 18 || b === 19)) || (a === 198 && b === 51 && c === 100) || // benchmarks, documentation
    (a === 203 && b === 0 && c === 113); // documentation
}

function isPrivateIpv6(groups: readonly number[]): boolean {
  const [first, second] = groups;
  const embedded = [groups[6] >> 8, groups[6] & 255, groups[7] >> 8, groups[7] & 255];
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (mapped) return isPrivateIpv4(embedded);
  if (first === 0x64 && second === 0xff9b) return isPrivateIpv4(embedded); // translated to IPv4
  if (first === 0x2002) { // 6to4 carries an IPv4 address in its second and third groups
    return isPrivateIpv4([second >> 8, second & 255, groups[2] >> 8, groups[2] & 255]);
  }
  // Global unicast is 2000::/3; within it 2001:0::/23 and 2001:db8::/32 are set aside.
  return (first & 0xe000) !== 0x2000 || (first === 0x2001 && (second < 0x200 || second === 0xdb8));
}
