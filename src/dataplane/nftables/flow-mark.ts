/**
 * One bit of the mark of a *connection*, for those that dataplane `nat` translates. It is not in the marks that other programs use
 * (see `markBit` in `ruleset.ts`), nor is it furiwake's own packet mark: a program that copies marks between packets and connections
 * (`CONNMARK --restore-mark`) must not route these packets to HAProxy.
 */
export const flowMark = 0x1000;
