import { describe, expect, test } from 'vitest';
import { type AgentRig, makeAgentRig, row, table } from '../../test/make/agent-rig.ts';

const signal = new AbortController().signal;
const a = row('192.0.2.51', 80, 'default/a');
const b = row('192.0.2.51', 443, 'default/b');

describe('between changes', () => {
  /** Runs the agent until the next audit is over; the Services that were named. */
  async function audit(rig: AgentRig): Promise<readonly string[]> {
    const stop = new AbortController();
    const named: string[] = [];
    const running = rig.agent.run((services) => named.push(...services), stop.signal).catch(() => undefined);
    await rig.clock.advance(30_000);
    stop.abort();
    await rig.clock.drive(running);
    return named;
  }

  test('an address that the host has come to have itself is one where nothing is refused any more', async () => {
    const rig = makeAgentRig();
    await rig.agent.submit(table(a), signal);
    expect(rig.added).toEqual(['192.0.2.51']);
    rig.own = ['192.0.2.51'];
    expect(await audit(rig)).toEqual([]);
    expect(rig.added).toEqual([]);
  });

  test('an address that the kernel does not take is told to its Services, and when it takes it', async () => {
    const rig = makeAgentRig();
    const other = row('2001:db8::51', 80, 'default/other');
    rig.refused = new Map([['2001:db8::51', 'furiwake0: IPv6 is disabled on this device']]);
    await rig.agent.submit(table(a, other), signal);
    expect(rig.agent.answerTo(a)).toBe('ready');
    expect(rig.agent.answerTo(other)).toEqual({
      reason: 'DataplaneError',
      message: 'the kernel does not take the address 2001:db8::51 (furiwake0: IPv6 is disabled on this device)',
    });
    rig.whenAudited = () => (rig.refused = new Map());
    expect(await audit(rig)).toEqual(['default/other']);
    expect(rig.agent.answerTo(other)).toBe('ready');
  });
});

describe('after a reboot', () => {
  test('the last table is put in force without anybody asking', async () => {
    const files = new Map<string, string>();
    await makeAgentRig(files).agent.submit(
      table({ ...a, sourceRanges: [{ family: 4, first: 0n, last: 255n }] }, b),
      signal,
    );
    const rig = makeAgentRig(files);
    await rig.agent.restore(signal);
    expect(new Set(rig.agent.inForce().rows.values())).toEqual(
      new Set([{ ...a, sourceRanges: [{ family: 4, first: 0n, last: 255n }] }, b]),
    );
    expect(rig.agent.inForce().nodes[4]).toHaveLength(1);
  });

  test('an address that was the host’s own is not added, though it may come later than we do', async () => {
    const files = new Map<string, string>();
    const own = row('192.0.2.10', 443, 'default/own');
    await makeAgentRig(files).agent.submit(table(a, own), signal);
    const rig = makeAgentRig(files);
    rig.unrecorded = ['192.0.2.10'];
    await rig.agent.restore(signal);
    expect(rig.added).toEqual(['192.0.2.51']);
    expect([...rig.agent.inForce().hosted.keys()]).toEqual(['192.0.2.51']);
    expect(rig.agent.inForce().rows.has(own.key)).toBe(true);
  });

  test('without a table nothing is touched', async () => {
    const rig = makeAgentRig();
    await rig.agent.restore(signal);
    expect(rig.steps).toEqual([]);
  });

  test('a table that cannot be read is left alone, and nothing is touched', async () => {
    const rig = makeAgentRig(new Map([['/table', '{"version":1,"nodes4":[],"nodes6":[]}\n{"service":"x"}\n']]));
    await rig.agent.restore(signal);
    expect(rig.steps).toEqual([]);
  });
});
