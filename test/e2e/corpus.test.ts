import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { namespace, readCases } from '../corpus/cases.ts';
import { type Judgement, judge } from '../corpus/judge.ts';
import { addresses, furnish, type Site } from '../corpus/site.ts';
import { isRoot, useStage } from './harness/stage.ts';

/** When `direct` takes over from HAProxy depends on the syncs of kube-proxy; `direct.test.ts` has that. */
const throughHaproxy = { 'furiwake.dev/dataplane': 'haproxy' };

/** How each case is served today, exactly: raise it when furiwake serves more. */
const expected: Readonly<Record<string, Pick<Judgement, 'verdict'> & { readonly lacks: readonly string[] }>> = {
  '01-ingress-nginx': { verdict: 'partly', lacks: ['local'] },
  '04-traefik-http3': { verdict: 'fully', lacks: [] },
  '07-envoy-gateway-metallb-ip': { verdict: 'fully', lacks: [] },
  '29-zalando-postgres': { verdict: 'fully', lacks: [] },
  '31-gitea': { verdict: 'fully', lacks: [] },
  '34-vault-ui': { verdict: 'fully', lacks: [] },
};

const cases = await readCases(Object.keys(expected));

describe.skipIf(!isRoot)('of the corpus', () => {
  const stage = useStage({ flags: ['--addresses', addresses] });
  let site: Site | undefined;

  beforeAll(async () => {
    site = await furnish(stage().lab, new AbortController().signal);
  });

  afterAll(async () => {
    await site?.cluster.remove(`/api/v1/namespaces/${namespace}`);
  });

  test('six cases are judged', () => {
    expect(cases.map(({ name }) => name)).toEqual(Object.keys(expected));
  });

  test.each(cases)(
    '$name is served as far as is expected, names everything that it lacks, and leaves no trace',
    async (one) => {
      if (site === undefined) throw new Error('the Pods are not ready');
      const { verdict, lacks, traces, says } = await judge(site, one, throughHaproxy);
      expect({ verdict, lacks: lacks.map(({ what }) => what) }, `${says.join('; ')}.`).toEqual(expected[one.name]);
      expect(lacks.filter(({ isNamed }) => !isNamed)).toEqual([]);
      expect(traces).toEqual([]);
    },
  );
});
