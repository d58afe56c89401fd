import { expect, test } from 'vitest';
import { type Host, makeScene, messages, type Scene, startLeading } from '../../test/make/leading-hosts.ts';
import { noteWithdrawn } from '../kube/withdrawn-note.ts';

const note = ({ cluster }: Scene): string | undefined =>
  cluster.lease?.metadata.annotations?.['furiwake.dev/kept-addresses'];

/** A host that is alone, and ends. */
async function runAlone(
  scene: Scene,
  options: { readonly stopsTrafficOnExit?: boolean; readonly hasAddresses?: boolean } = {},
): Promise<Host> {
  const stop = new AbortController();
  const host = startLeading(scene, 'lb1_a-b', { stop, ...options });
  await scene.clock.advance(7_000);
  stop.abort();
  await scene.clock.drive(host.ended.catch(() => undefined));
  return host;
}

test('a host that was alone and keeps its addresses says so in the Lease: the next holder logs what to do', async () => {
  const scene = makeScene();
  await runAlone(scene);
  expect(note(scene)).toMatch(/^\{"lb1_a-b":"\d{4}-/);
  const next = startLeading(scene, 'lb2_c-d');
  await scene.clock.advance(20_000);
  expect(messages(next, 'error')).toEqual([
    'host lb1 may still answer for its addresses: furiwake has ended there without cleanup, or is cut off from the API server; run furiwake cleanup on lb1, or start furiwake there; if it is gone: kubectl annotate lease furiwake --namespace ns furiwake.dev/kept-addresses-',
  ]);
  expect([next.isServing, next.keepers, note(scene)]).toEqual([true, ['lb1'], expect.stringContaining('lb1_a-b')]);
});

test('the message of a reinstalled host asks for no command on itself', async () => {
  const scene = makeScene();
  await runAlone(scene);
  const anew = startLeading(scene, 'lb1_c-d');
  await scene.clock.advance(20_000);
  expect(messages(anew, 'error')).toEqual([
    'another machine with the name of this host, lb1, may still answer for its addresses, unless it was this host before it was reinstalled; run furiwake cleanup on the other machine; if there is none: kubectl annotate lease furiwake --namespace ns furiwake.dev/kept-addresses-',
  ]);
});

test.each([
  ['is killed', 'lb1_a-b'],
  ['is cut off', 'lb1_a-b'],
] as const)('a host that was alone and %s has left the note', async (how, identity) => {
  const scene = makeScene();
  const stop = new AbortController();
  const alone = startLeading(scene, identity, { stop });
  await scene.clock.advance(7_000);
  expect(note(scene)).toMatch(/^\{"lb1_a-b":"\d{4}-/);
  const written = note(scene);
  await scene.clock.advance(60_000);
  expect(note(scene)).toBe(written);
  scene.cluster.links.set(identity, 'cut'); // nothing that it does from now on is seen
  if (how === 'is killed') stop.abort();
  const next = startLeading(scene, 'lb2_c-d');
  await scene.clock.advance(40_000);
  expect([alone.answers, next.isServing, next.keepers]).toEqual([true, true, ['lb1']]);
});

test('a host that sees another one removes its note at once, because its addresses get a lifetime', async () => {
  const scene = makeScene();
  const alone = startLeading(scene, 'lb1_a-b');
  await scene.clock.advance(7_000);
  startLeading(scene, 'lb2_c-d');
  await scene.clock.advance(6_000);
  expect([alone.isServing, alone.answersUntilMs, note(scene)]).toEqual([true, expect.any(Number), '{}']);
});

test('a Lease that is deleted beside a host that keeps its addresses gets the note again', async () => {
  const scene = makeScene();
  await runAlone(scene);
  const next = startLeading(scene, 'lb2_c-d');
  await scene.clock.advance(20_000);
  const written = note(scene);
  scene.cluster.lease = undefined;
  for (let passedMs = 0; passedMs < 40_000; passedMs += 500) {
    scene.cluster.hasNamespace = passedMs > 10_000; // until then it cannot be created
    await scene.clock.advance(500);
    expect(next.keepers).toEqual(['lb1']);
  }
  expect(JSON.parse(note(scene) ?? '{}')).toMatchObject(JSON.parse(written ?? '{}') as object);
});

test('a host that is started again knows of the note before it serves', async () => {
  const scene = makeScene();
  await runAlone(scene);
  const options = { files: new Map<string, string>(), knowsOthers: true };
  const stop = new AbortController();
  const before = startLeading(scene, 'lb2_c-d', { ...options, stop });
  await scene.clock.advance(20_000);
  stop.abort();
  await scene.clock.drive(before.ended.catch(() => undefined));
  const again = startLeading(scene, 'lb2_c-d', { ...options, leftUntilMs: before.endMs });
  await scene.clock.advance(1_000);
  expect([before.servedBeside, again.servedBeside]).toEqual([[['lb1']], [['lb1']]]);
});

test('a note that is removed by hand stays removed', async () => {
  const scene = makeScene();
  await runAlone(scene);
  const next = startLeading(scene, 'lb2_c-d', { hasAddresses: false });
  await scene.clock.advance(20_000);
  const { lease } = scene.cluster;
  if (lease !== undefined) scene.cluster.lease = { ...lease, metadata: { ...lease.metadata, annotations: {} } };
  await scene.clock.advance(20_000);
  expect([next.keepers, note(scene)]).toEqual([[], undefined]);
});

test('with --on-lease-loss keep a host adds its addresses beside another one', async () => {
  const scene = makeScene();
  await runAlone(scene);
  const next = startLeading(scene, 'lb2_c-d', { onLeaseLoss: 'keep' });
  await scene.clock.advance(20_000);
  expect([next.isServing, next.keepers]).toEqual([true, []]);
});

test('its next start removes the note, as a candidate and as the holder, and it logs no error', async () => {
  const scene = makeScene();
  await runAlone(scene);
  const again = await runAlone(scene);
  expect(messages(again, 'error')).toEqual([]);
  const next = startLeading(scene, 'lb2_c-d');
  await scene.clock.advance(20_000);
  expect(note(scene)).toContain('lb1_a-b');
  const candidate = startLeading(scene, 'lb1_a-b');
  await scene.clock.advance(5_000);
  expect([candidate.isServing, next.keepers, note(scene)]).toEqual([false, [], '{}']);
});

test('a host that has added no address leaves no note', async () => {
  const scene = makeScene();
  await runAlone(scene, { hasAddresses: false });
  expect([scene.cluster.lease?.spec.holderIdentity, note(scene)]).toEqual(['', undefined]);
});

test('a lone host that stops its traffic leaves the release, which removes the note, to the caller', async () => {
  const scene = makeScene();
  await runAlone(scene, { stopsTrafficOnExit: true });
  expect([scene.cluster.lease?.spec.holderIdentity, note(scene)]).toEqual([
    'lb1_a-b',
    expect.stringContaining('lb1_a-b'),
  ]);
});

test('cleanup removes the note of its host only, and needs no Lease', async () => {
  const scene = makeScene();
  const client = scene.cluster.clientOf('cleanup');
  const { signal } = new AbortController();
  const cleaned = (identity: string): Promise<boolean> =>
    noteWithdrawn(client, { namespace: 'ns', name: 'furiwake', identity }, signal);
  expect(await cleaned('lb1_a-b')).toBe(false);
  await runAlone(scene);
  expect([await cleaned('lb2_c-d'), note(scene)]).toEqual([false, expect.stringContaining('lb1_a-b')]);
  expect([await cleaned('lb1_a-b'), note(scene)]).toEqual([true, '{}']);
});
