{{- define "retort.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters, so that the longest suffix still fits a DNS label. */}}
{{- define "retort.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "retort.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* include with (dict "root" $ "component" "gateway"), here and below; "name" when the object's differs. */}}
{{- define "retort.selectorLabels" -}}
app.kubernetes.io/name: {{ include "retort.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "retort.labels" -}}
{{ include "retort.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "retort.metadata" -}}
name: {{ include "retort.fullname" .root }}-{{ .name | default .component }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "retort.labels" . | nindent 2 }}
{{- end -}}

{{/* A pod's metadata; "annotations" are the part's own. */}}
{{- define "retort.podMetadata" -}}
labels:
  {{- include "retort.selectorLabels" . | nindent 2 }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (.annotations | default dict) .root.Values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
What every pod has in common; include with (dict "root" $ "component" ... "part" .Values.gateway "user" 10001).
"repository": it mounts the model repository; "spread": its replicas go to different nodes and zones.
*/}}
{{- define "retort.podSpec" -}}
serviceAccountName: {{ include "retort.fullname" .root }}-{{ .component }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- $modes := .root.Values.modelRepository.accessModes }}
{{- if and .repository (not (or (has "ReadWriteMany" $modes) (has "ReadOnlyMany" $modes))) }}
# One node can mount the claim, and the scheduler does not know that.
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {app.kubernetes.io/instance: {{ .root.Release.Name }}, app.kubernetes.io/name: {{ include "retort.name" .root }}}
          matchExpressions: [{key: app.kubernetes.io/component, operator: In, values: [gateway, model-server, training]}]
{{- end }}
{{- if .spread }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "retort.selectorLabels" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* What every container has in common; same arguments, and "name", "image", "resources" when they are not the part's. */}}
{{- define "retort.container" -}}
{{- $image := .image | default .part.image -}}
{{- if hasPrefix "latest" $image.tag }}{{ fail (printf "the tag of the image %s is `latest`: name a version, or nobody knows what runs" $image.repository) }}{{ end -}}
name: {{ .name | default .component }}
image: {{ printf "%s:%s" $image.repository ($image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ $image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml (.resources | default .part.resources) | nindent 2 }}
{{- end -}}

{{- define "retort.claimName" -}}
{{- .Values.modelRepository.existingClaim | default (printf "%s-model-repository" (include "retort.fullname" .)) -}}
{{- end -}}

{{- define "retort.keysSecret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-api-keys" (include "retort.fullname" .)) -}}
{{- end -}}

{{- define "retort.adminSecret" -}}
{{- .Values.admin.existingSecret | default (printf "%s-admin-keys" (include "retort.fullname" .)) -}}
{{- end -}}

{{- define "retort.redisSecret" -}}
{{- .Values.redis.existingSecret | default (printf "%s-redis" (include "retort.fullname" .)) -}}
{{- end -}}

{{- define "retort.tritonSecret" -}}
{{- .Values.modelServer.nvidia.existingSecret | default (printf "%s-triton" (include "retort.fullname" .)) -}}
{{- end -}}

{{/*
A random secret that an upgrade keeps; include with (dict "root" $ "secret" NAME "entry" KEY). Remembered in .Values, because
a second include must give what the first gave.
*/}}
{{- define "retort.generated" -}}
{{- $id := printf "%s/%s" .secret .entry -}}
{{- $made := .root.Values.generated | default dict -}}
{{- if not (hasKey $made $id) -}}
{{- $present := (lookup "v1" "Secret" .root.Release.Namespace .secret).data | default dict -}}
{{- $_ := set $made $id (get $present .entry | b64dec | default (randAlphaNum 40)) -}}
{{- $_ := set .root.Values "generated" $made -}}
{{- end -}}
{{- get $made $id -}}
{{- end -}}

{{/* Changes when a secret that a process reads only at its start has changed; include as above, "existing": it is yours. */}}
{{- define "retort.mark" -}}
{{- if .existing -}}
{{- dig "metadata" "resourceVersion" "" (lookup "v1" "Secret" .root.Release.Namespace .secret) -}}
{{- else -}}
{{- include "retort.generated" . | sha256sum | trunc 16 -}}
{{- end -}}
{{- end -}}

{{/* A number as it was written: 1048576, not 1.048576e+06. */}}
{{- define "retort.plain" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{- define "retort.scheme" -}}
{{- ternary "HTTPS" "HTTP" (not (empty .Values.tls.existingSecret)) -}}
{{- end -}}

{{/* Whether an autoscaler counts the replicas: then the Deployment must not. */}}
{{- define "retort.replicas" -}}
{{- if eq .root.Values.autoscaling.engine "none" }}replicas: {{ .part.replicas }}{{ end -}}
{{- end -}}

{{- define "retort.tritonPorts" -}}
- {name: triton-http, containerPort: 8000, protocol: TCP}
- {name: triton-grpc, containerPort: 8001, protocol: TCP}
- {name: triton-metrics, containerPort: 8002, protocol: TCP}
{{- end -}}
