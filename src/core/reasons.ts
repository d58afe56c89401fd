/** Where the reason is shown, what it means, and what to do. */
export type ReasonText = { readonly where: string; readonly means: string; readonly do: string };

/**
 * Every reason that a user can see in a condition, an event, `ports[].error` or the log, each with what to do.
 * `docs/reasons.md` is generated from this table (`npm run docs:reasons`).
 */
export const reasons = {
  // condition furiwake.dev/AddressAssigned
  Assigned: { where: 'AddressAssigned', means: 'The Service has its address.', do: 'Nothing.' },
  PoolExhausted: {
    where: 'AddressAssigned',
    means:
      'No address in the address pool is free, and none can be shared: a port is in use, or a Service of another namespace does not have the same sharing key.',
    do: 'Add addresses to --addresses, delete a Service, or use another port or sharing key.',
  },
  FamilyUnavailable: {
    where: 'AddressAssigned',
    means: 'The address pool has no address of an IP family that the Service must have.',
    do: 'Add addresses of that family to --addresses, or change spec.ipFamilies / spec.ipFamilyPolicy.',
  },
  AddressNotInPool: {
    where: 'AddressAssigned',
    means: 'The address that the Service requests, or shows in its status, is not in the address pool.',
    do: 'Request an address of the pool, or add this one to --addresses. Where furiwake published it with other --addresses and another --state-dir, start furiwake with those, or release the Services with furiwake cleanup --cluster.',
  },
  AddressInUse: {
    where: 'AddressAssigned',
    means:
      'The requested address belongs to a cluster node, the API server or a Service of another load balancer, or the load-balancer host needs it.',
    do: 'Request another address.',
  },
  PortConflict: {
    where: 'AddressAssigned',
    means: 'Another Service has this port of the address. The message names it if it is in the same namespace.',
    do: 'Use another port or address, or delete the other Service: furiwake then assigns the port to this one.',
  },
  SharingNotAllowed: {
    where: 'AddressAssigned',
    means: 'A Service of another namespace has the address, and the two do not have the same sharing key.',
    do: 'Request another address, or set the annotation furiwake.dev/sharing-key to the same value on both Services.',
  },
  PortInUseOnHost: {
    where: 'AddressAssigned',
    means:
      "The address is the load-balancer host's own, and a program there listens on the port, or the port is one of --reserved-ports.",
    do: 'Use another port, give furiwake other addresses (--addresses), or stop the program on the host.',
  },
  ConflictingRequest: {
    where: 'AddressAssigned',
    means:
      'The Service requests different addresses: spec.loadBalancerIP, furiwake.dev/addresses, furiwake.dev/pool and the annotations of other implementations that furiwake reads do not agree. The message names them.',
    do: 'Remove all but one of them. Until then the Service keeps the address it has.',
  },
  PoolUnknown: {
    where: 'AddressAssigned',
    means: 'The Service requests a pool by a name that no pool in --addresses has.',
    do: 'Correct or remove the annotation that the message names, or name a pool: --addresses NAME=192.0.2.8/29. Until then the Service keeps the address it has.',
  },
  InvalidRequest: {
    where: 'AddressAssigned',
    means:
      'The request is not an IP address, has two addresses of one family, or one of a family that the Service does not have.',
    do: 'Write one address, or one IPv4 and one IPv6 address separated by a comma.',
  },
  NotRecorded: {
    where: 'AddressAssigned',
    means: 'The load-balancer host could not record the address, or a new port, on its disk, so it is not used.',
    do: 'Free space in the state directory on the host, or repair its disk. furiwake retries.',
  },
  // condition furiwake.dev/Serving
  Serving: { where: 'Serving', means: 'The load balancer serves every port.', do: 'Nothing.' },
  PartlyServing: {
    where: 'Serving',
    means:
      'Some ports or addresses are served; the message names the others and why, and for ports so does ports[].error.',
    do: 'See the reason of each port. For an address that no node serves, see NoNodes.',
  },
  FieldsNotHonoured: {
    where: 'Serving',
    means:
      'The Service is served, but furiwake ignores what the message names: sessionAffinity (kube-proxy sees one client, so all connections through a node use one Pod; with nat a client keeps its node), the address of clients where HAProxy serves the Service or stands in for direct, an annotation of another implementation, or a furiwake.dev/dataplane or furiwake.dev/backends that is not valid.',
    do: 'Nothing, if that is good enough. Otherwise do what the message says, use None and Cluster, or correct or remove the annotation.',
  },
  NotConfirmed: {
    where: 'Serving',
    means:
      'With externalTrafficPolicy: Local, kube-proxy has not confirmed for ten seconds that nodes have endpoints of the Service, as the EndpointSlices say. The message names the nodes. They get no connections, except where no node of the Service is confirmed.',
    do: 'Open the healthCheckNodePort of the Service on the nodes to the load-balancer host, and let nodePortAddresses of kube-proxy include the address of the node. Check that kube-proxy runs there.',
  },
  EndpointsRefused: {
    where: 'Serving',
    means:
      'EndpointSlices of the Service have addresses that no Pod can have: loopback, link-local, unspecified and multicast ones, and with furiwake.dev/backends: pods those of the load-balancer host and of Services, and those that the host needs, such as the API server. They get no connections; with externalTrafficPolicy: Local their nodes get none for them. The message names them.',
    do: 'Correct the EndpointSlices. With furiwake.dev/backends: pods you may also remove the annotation: then kube-proxy decides.',
  },
  NoRouteToPods: {
    where: 'Serving',
    means:
      'With furiwake.dev/backends: pods, the load-balancer host has no route but its default route to some addresses of Pods, which the message names. If it has none to any Pod, NodePorts serve the Service.',
    do: 'Give the host routes to the Pod CIDRs of the nodes, as each node has them: `ip route add POD-CIDR via NODE`, a routing daemon, or the agent of the CNI plugin on the host. furiwake notices them within a second. Otherwise remove the annotation.',
  },
  NoAddress: {
    where: 'Serving',
    means: 'The Service has no address to be served on.',
    do: 'See the condition furiwake.dev/AddressAssigned.',
  },
  NoNodes: {
    where: 'Serving',
    means:
      'No node can take connections: there is none, or all are excluded, drained, unhealthy, silent or without an address of the family. With externalTrafficPolicy: Local this is about the nodes with endpoints of the Service. Ports with a health check of their own do not depend on the health of nodes: see NoServers.',
    do: 'Check the nodes, their label node.kubernetes.io/exclude-from-external-load-balancers and their addresses.',
  },
  SettingsWaiting: {
    where: 'Serving',
    means:
      'The port that the message names is served without the settings that it names: with those of before, or for a new port with the usual ones. They need a reload of HAProxy, which waits or has failed. A reload leaves a worker that keeps its memory until its last connection ends, so after five in succession the next ones wait, and while too many such workers have connections: eight, of which one namespace alone leaves four to others, or sixteen for the first reload of a namespace. The message says until when.',
    do: 'Nothing, or find the Services whose annotations for HAProxy change all the time. `furiwake status` counts the workers that were replaced. After a failure, read the log of the load-balancer host.',
  },
  HeaderRefused: {
    where: 'Serving',
    means:
      'With furiwake.dev/proxy-protocol, a server of the port that the message names closes a connection that begins with the header at once, or answers with an error of HTTP or TLS, and keeps one that does not. furiwake tries that itself, again after a minute.',
    do: 'Configure the Pods to accept the PROXY protocol, also from the addresses of the nodes, or remove the annotation.',
  },
  Drained: {
    where: 'Serving',
    means:
      'An administrator drains the Service (`furiwake drain NS/NAME`): HAProxy or nat refuses new connections, and those that exist continue. A port that direct serves and that has a nodePort leaves direct meanwhile; one without a nodePort is not drained, and the message names it. It lasts until `furiwake undrain NS/NAME`, also for a Service that is deleted and created again.',
    do: 'Nothing, or `furiwake undrain NS/NAME` on the load-balancer host.',
  },
  NoServers: {
    where: 'Serving',
    means:
      'HAProxy has no server for connections to the address or port that the message names, and closes them. Its servers have checks of their own (furiwake.dev/health-check, or furiwake.dev/backends: pods), and each fails its check, or its node is drained or silent.',
    do: 'Connect from the load-balancer host to the nodePort on the nodes, or with furiwake.dev/backends: pods to the Pods, and compare with the check: with the PROXY protocol, it sends a header as well.',
  },
  NotForwarding: {
    where: 'Serving',
    means:
      'With the dataplane direct, the host drops the packets: no node is shown to serve the address. A node gets packets when the host has a LAN in common with it and its kube-proxy reports, at port 10256, a sync after the publication of the address. The message says what each node lacks. A TCP port has HAProxy as its stand-in meanwhile, unless HAProxy cannot be changed: the message says that, too.',
    do: 'Open port 10256 of the nodes to the load-balancer host (k3s binds it to localhost), connect the host to the LAN of the nodes, or give the nodes another gateway than this host. Otherwise use furiwake.dev/dataplane: haproxy, for TCP; for a TCP port without a nodePort furiwake.dev/backends: pods.',
  },
  NoEndpoints: {
    where: 'Serving',
    means:
      'The Service has an address and no ready endpoint, or none of its ready endpoints has the targetPort of one of its ports: connections are refused, by the load-balancer host or, with the dataplanes direct and nat, by kube-proxy. If only some ports or one family lack endpoints, the reason is PartlyServing.',
    do: 'Check the Pods that the selector of the Service matches, their readiness probes, and that a targetPort with a name is a named port of their containers.',
  },
  AddressNotOnHost: {
    where: 'Serving',
    means:
      'The address is not on the load-balancer host, so it takes no connections: the host has lost an address of its own, or the kernel refuses the address. The message says which. The Service keeps the address.',
    do: 'Give the host its address back; furiwake notices it. For an IPv6 address that the kernel refuses, check net.ipv6.conf.*.disable_ipv6 of the interface in the message.',
  },
  HaproxyDown: {
    where: 'Serving',
    means:
      'HAProxy has taken no connections for some seconds: it does not run and cannot be started, or it hangs. The message quotes its error. A published address stays; ports that need no HAProxy are served: those of nat, and those of direct that a node serves.',
    do: 'Run `furiwake check` on the load-balancer host and read its log.',
  },
  DataplaneError: {
    where: 'Serving',
    means: 'HAProxy or the kernel rejected the change; the previous configuration stays active. The message quotes it.',
    do: 'Run `furiwake check` on the load-balancer host and read its log.',
  },
  InvalidSourceRanges: {
    where: 'Serving',
    means:
      'loadBalancerSourceRanges has an entry that is not a CIDR, which matches no client, or no entry of a family that the Service has: it is closed to all clients of that family.',
    do: 'Correct the entry.',
  },
  TooManySourceRanges: {
    where: 'Serving',
    means:
      'loadBalancerSourceRanges, of the families of the Service, are more ranges than the kernel is given for one Service (10,000), or than older Services leave of those for the load-balancer host (30,000). The Service is closed to all clients.',
    do: 'Use fewer, wider ranges.',
  },
  TooManyProfiles: {
    where: 'Serving',
    means:
      'The Service asks for a combination of furiwake.dev/balance, timeouts and the path of a health check that no other Service has, and HAProxy has as many combinations as it can, 64. It is served with the usual settings. The message names the combination in use that is most like it.',
    do: 'Use that combination, or change or delete other Services. Older Services have precedence.',
  },
  TooManyServers: {
    where: 'Serving',
    means:
      'With furiwake.dev/backends: pods each Pod is a server of HAProxy for each port and family, and these would be more than 4,000 for one Service, or than older Services leave of the 20,000 of the load balancer. NodePorts serve the Service; ports without a NodePort have some of their Pods as servers, the same ones on every load-balancer host, at most 4,000 (100 if the limit of the load balancer is exceeded) over all of them.',
    do: 'Use fewer ports, or remove the annotation: through NodePorts all Pods get connections. Older Services have precedence.',
  },
  // ports[].error and condition LoadBalancerPortsError
  NodePortMissing: {
    where: 'ports[].error',
    means:
      'The port has no nodePort (allocateLoadBalancerNodePorts: false), HAProxy and nat reach Pods through NodePorts, and direct may not serve the Service: by an annotation or its default (--default-annotation), or because the address is that of the host itself.',
    do: 'Set spec.allocateLoadBalancerNodePorts to true, or the annotation furiwake.dev/backends to pods, for TCP, or furiwake.dev/dataplane to direct.',
  },
  HaproxyRequired: {
    where: 'ports[].error',
    means:
      'The port asks for the PROXY protocol (furiwake.dev/proxy-protocol) or for HTTP mode (furiwake.dev/http-mode), and furiwake.dev/dataplane requests a dataplane that has neither.',
    do: 'Remove one of the two annotations.',
  },
  // events and log
  StatusConflict: {
    where: 'event',
    means:
      'Another client changed the status that furiwake wrote three times within a minute. furiwake stops writing it for ten minutes, or until the spec or the address changes; traffic continues.',
    do: 'Find the other writer (kubectl get service NAME -o yaml --show-managed-fields) and give one of the two another loadBalancerClass.',
  },
  StatusRepaired: {
    where: 'event',
    means: 'Another client changed the status; furiwake restored it.',
    do: 'Nothing, unless it happens again.',
  },
  FinalizersRepaired: {
    where: 'event',
    means:
      'Another client removed the finalizers of furiwake from the Service, which it still serves; furiwake added them again. If that repeats, it waits longer each time, at most a minute.',
    do: 'Nothing, unless it happens again: then stop the client that removes them. Without them a deleted Service vanishes while the host still serves it.',
  },
  WriteRefused: {
    where: 'event',
    means:
      'The API server refuses what furiwake writes to the Service, or an admission plugin changes it. furiwake retries.',
    do: 'Look for an admission webhook or policy that rejects or changes updates of the status or the finalizers of Services.',
  },
  HeldByAnother: {
    where: 'event',
    means:
      'The Service has no class and another client, which the message names, wrote its address: furiwake leaves it alone.',
    do: 'Create the Service again with spec.loadBalancerClass, or remove the other controller and clear the status.',
  },
  DuplicateAddress: {
    where: 'event',
    means:
      'Another machine on the LAN, of which the message gives the MAC address, answers for the address of the Service: some clients reach that machine. furiwake announces the address nevertheless.',
    do: 'Remove the address from that machine, or from --addresses. `furiwake check` probes the LAN for all addresses of the pool.',
  },
  NodeWithoutAddress: {
    where: 'event',
    means:
      'The node has neither an InternalIP nor an ExternalIP, or only such that no node can have (loopback, link-local, multicast, …), so it gets no connections.',
    do: 'Give the kubelet a --node-ip, or check the cloud provider of the node.',
  },
} as const;

/** The CamelCase word that a user sees. */
export type Reason = keyof typeof reasons;

/** A reason, and a message with the names and numbers of the case. */
export type Verdict = { readonly reason: Reason; readonly message: string };
