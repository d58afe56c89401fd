import { imageNames } from '../lab/images/images.ts';

/** The scenario: a namespace, a Pod, a Service of type LoadBalancer. */
export const namespace = 'lbtest';

export const nginxPod: string = `apiVersion: v1
kind: Namespace
metadata:
  name: ${namespace}
---
apiVersion: v1
kind: Pod
metadata:
  name: nginx
  namespace: ${namespace}
  labels:
    app: nginx
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: nginx
      image: ${imageNames.nginx}
      ports:
        - containerPort: 80
`;

/** A Service in front of the nginx Pod, on `port`. */
export function nginxService(name: string, port: number): string {
  return `apiVersion: v1
kind: Service
metadata:
  name: ${name}
  namespace: ${namespace}
spec:
  type: LoadBalancer
  selector:
    app: nginx
  ports:
    - port: ${port}
      targetPort: 80
`;
}
