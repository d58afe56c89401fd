import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { describe, expect, test } from 'vitest';
import type { AuditEvent } from '../../lab/cluster/audit.ts';
import { eventually } from './harness/eventually.ts';
import { kubeconfigOf } from './harness/names.ts';
import { isRoot, type Stage, useStage } from './harness/stage.ts';

type Rule = Readonly<Record<'apiGroups' | 'resources' | 'verbs', readonly string[]>>;

/** `patch services/status`, `watch leases.coordination.k8s.io`: all permissions in `deploy/`. */
async function allowed(): Promise<readonly string[]> {
  const file = path.join(import.meta.dirname, '..', '..', 'deploy', 'furiwake.yaml');
  const documents = parseAllDocuments(await readFile(file, 'utf8')).map((each) => each.toJS() as { rules?: Rule[] });
  return documents
    .flatMap(({ rules = [] }) => rules)
    .flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.map((verb) => nameOf(verb, group, resource)))),
    );
}

function nameOf(verb: string, group: string, resource: string): string {
  return `${verb} ${resource}${group === '' ? '' : `.${group}`}`;
}

/** The permission for a request. */
function rightOf({ verb, objectRef }: AuditEvent): string {
  const { resource = '', subresource, apiGroup = '' } = objectRef ?? {};
  return nameOf(verb, apiGroup, subresource === undefined ? resource : `${resource}/${subresource}`);
}

/** Requests of furiwake to the API server since then, once each. */
async function requestsSince({ lab }: Stage, time: Date): Promise<readonly AuditEvent[]> {
  const events = await lab.auditLog();
  return events.filter(
    ({ stage, verb, requestReceivedTimestamp }) =>
      Date.parse(requestReceivedTimestamp) >= time.getTime() && (stage === 'ResponseComplete' || verb === 'watch'),
  );
}

const renewal = 'update leases.coordination.k8s.io';

/**
 * The Lease is renewed every five seconds: resolves with the requests between one renewal and the `count`th after it.
 */
async function duringRenewals(from: Stage, count: number): Promise<readonly AuditEvent[]> {
  const start = new Date();
  return eventually(async () => {
    const events = await requestsSince(from, start);
    const renewals = events.flatMap((event, index) => (rightOf(event) === renewal ? [index] : []));
    if (renewals.length <= count) throw new Error('not renewed often enough yet');
    return events.slice(renewals[0], renewals[count]);
  });
}

describe.skipIf(!isRoot)('the permissions of deploy/', () => {
  const stage = useStage({ isStarted: false });

  test('are sufficient, and each of them is used', async () => {
    const { services, furiwake, lab } = stage();
    const start = new Date();
    await furiwake.start(); // the stage has deleted the Lease, so furiwake also creates it
    await services.create('all');
    const truth = await services.published('all');
    for (let repair = 0; repair < 2; repair++) {
      await services.writeStatus('all', { loadBalancer: { ingress: [{ ip: '198.51.100.99' }] } });
      await eventually(async () => expect(await services.published('all')).toEqual(truth));
      await services.event('all', 'StatusRepaired');
    }
    await services.remove('all');
    // The same event for the second time is a patch of the first.
    await eventually(async () =>
      expect((await requestsSince(stage(), start)).map(rightOf)).toContain('patch events.events.k8s.io'),
    );
    await furiwake.stop();
    expect(await furiwake.command(['cleanup', '--cluster', '--kubeconfig', kubeconfigOf(lab)])).toMatchObject({
      code: 0,
    });

    const requests = await requestsSince(stage(), start);
    expect(requests.filter(({ responseStatus }) => responseStatus?.code === 403)).toEqual([]);
    const used = new Set(requests.map(rightOf));
    // Needed only for an API server that cannot stream the initial set.
    used.add('list endpointslices.discovery.k8s.io');
    expect((await allowed()).filter((right) => !used.has(right))).toEqual([]);
  });

  test('an idle cluster gets only requests for the watches and the Lease', async () => {
    const { services, furiwake } = stage();
    await furiwake.start();
    await services.create('idle');
    await services.published('idle');
    await services.event('idle', 'Assigned');
    await services.event('idle', 'Serving');
    const asked = new Set((await duringRenewals(stage(), 2)).map(rightOf));
    // The last is for a renewal without an answer in time.
    for (const right of ['watch services', 'watch nodes', 'get leases.coordination.k8s.io']) asked.delete(right);
    expect([...asked]).toEqual([renewal]);
  });
});
