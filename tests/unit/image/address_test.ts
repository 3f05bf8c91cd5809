import { equal } from "node:assert/strict";
import { isAddressLiteral, isPrivateAddress } from "../../../lib/image/address.ts";

const PRIVATE = [
  "0.0.0.0",
  "10.1.2.3",
  "100.64.0.1",
  "127.0.0.1",
  "169.254.169.254",
  "172.16.0.1",
  "172.31.255.255",
  "192.0.2.1",
  "192.168.1.1",
  "198.18.0.1",
  "198.51.100.7",
  "203.0.113.9",
  "224.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "::127.0.0.1",
  "::ffff:127.0.0.1",
  "::ffff:a00:1",
  "64:ff9b::10.0.0.1",
  "2001:db8::1",
  "2002:7f00:1::",
  "fc00::1",
  "fe80::1%eth0",
  "ff02::1",
  "[::1]",
  "not an address",
];
const PUBLIC = [
  "1.1.1.1",
  "100.128.0.1",
  "172.32.0.1",
  "192.169.0.1",
  "223.255.255.255",
  "2606:4700::1111",
  "::ffff:1.1.1.1",
  "64:ff9b::1.1.1.1",
  "2002:101:101::1",
  "[2a00::1]",
];

for (const address of PRIVATE) {
  Deno.test(`isPrivateAddress holds for ${address}`, () => equal(isPrivateAddress(address), true));
}
for (const address of PUBLIC) {
  Deno.test(`isPrivateAddress does not hold for ${address}`, () => equal(isPrivateAddress(address), false));
}

Deno.test("isAddressLiteral tells addresses from names", () => {
  for (const literal of ["127.0.0.1", "::1", "[::1]"]) equal(isAddressLiteral(literal), true);
  for (const name of ["localhost", "a.example", "1.2.3", "256.1.1.1"]) equal(isAddressLiteral(name), false);
});
