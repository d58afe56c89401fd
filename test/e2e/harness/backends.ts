import { imageNames } from '../../../lab/images/images.ts';
import { namespace } from './names.ts';

/** Labels of the Pods that answer with their name: one on each node. */
export const web = { app: 'web' } as const;
/** The one on n1 only: n2 reaches it through the Pod network. */
export const webOnN1 = { app: 'web', node: 'n1' } as const;
/** The one on n2 only. */
export const webOnN2 = { app: 'web', node: 'n2' } as const;
/** Matches no Pod. */
export const nobody = { app: 'nobody' } as const;
/** The welcome page of the manual scenario, on n1. */
export const nginx = { app: 'nginx' } as const;

/** Pods of {@link web} listen here: HTTP, and UDP beside it. */
export const webPort = 8080;

function webPod(node: string): string {
  return `apiVersion: v1
kind: Pod
metadata: { name: web-${node}, namespace: ${namespace}, labels: { app: web, node: ${node} } }
spec:
  nodeName: ${node}
  terminationGracePeriodSeconds: 0
  containers:
    - name: netexec
      image: ${imageNames.agnhost}
      args: [netexec, --http-port=${webPort}, --udp-port=8081]
      readinessProbe: { httpGet: { path: /hostname, port: ${webPort} }, periodSeconds: 1 }
`;
}

/** A Pod of a test that creates and deletes it: it answers as those of {@link web} do, also for five seconds after its deletion. */
export function passingPod(app: string, name: string, nodeName: string): object {
  const args = ['netexec', `--http-port=${webPort}`, '--udp-port=8081', '--delay-shutdown=5'];
  const readinessProbe = { httpGet: { path: '/hostname', port: webPort }, periodSeconds: 1 };
  return {
    metadata: { name, labels: { app } },
    spec: {
      nodeName,
      terminationGracePeriodSeconds: 10,
      containers: [{ name: 'netexec', image: imageNames.agnhost, args, readinessProbe }],
    },
  };
}

/** core/v1 Pod, as far as tests read it. */
export type Pod = {
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
  };
};

export function isReady({ status }: Pod): boolean {
  return status?.conditions?.some((each) => each.type === 'Ready' && each.status === 'True') === true;
}

/** Namespace and Pods behind the Services of all tests; shared, because they take seconds to start. */
export const backends: string = [
  `apiVersion: v1
kind: Namespace
metadata: { name: ${namespace} }
`,
  webPod('n1'),
  webPod('n2'),
  `apiVersion: v1
kind: Pod
metadata: { name: nginx, namespace: ${namespace}, labels: { app: nginx } }
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 0
  containers:
    - name: nginx
      image: ${imageNames.nginx}
      ports: [{ containerPort: 80 }]
`,
].join('---\n');
